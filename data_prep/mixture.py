"""One pass over a mixture of sources: which rows it shows, and how often."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from data_prep.section import SourceSection

if TYPE_CHECKING:
    from numpy.typing import NDArray


def order(sizes: Mapping[str, int], settings: Mapping[str, SourceSection], seed: int) -> NDArray[np.int64]:
    """The pass as numbers into all sources' rows one after the other, in rising order: shuffling is the sampler's.

    ``sizes``: the rows of each source, in the order in which they are joined; none is empty.  Within a source no row is
    shown more than once more often than another; ``seed`` and the source's name choose which.
    """
    counts = samples(sizes, settings)
    starts = np.cumsum([0, *sizes.values()])
    parts = [
        start + _rows(size, counts[name], f"{seed} {name}")
        for start, (name, size) in zip(starts, sizes.items(), strict=False)  # the last start is the end
    ]
    return np.concatenate(parts)


def samples(sizes: Mapping[str, int], settings: Mapping[str, SourceSection]) -> dict[str, int]:
    """How many samples a pass takes of each source.

    Those with a weight give as many together as they have rows; where shares are no whole numbers, the largest
    remainders are rounded up.  Those with epochs are rounded each for itself, and never to nothing.
    """
    assert all(sizes.values()), f"an empty source: {dict(sizes)}"
    weighted = {name: settings[name].weight for name in sizes if settings[name].weight}
    total = sum(sizes[name] for name in weighted)
    weights = math.fsum(weighted.values())  # exact: the same whatever the order of the sources
    shares = {name: total * weight / weights for name, weight in weighted.items()}
    counts = {name: int(share) for name, share in shares.items()}
    by_remainder = sorted(shares, key=lambda name: (counts[name] - shares[name], name))
    for name in by_remainder[: total - sum(counts.values())]:
        counts[name] += 1
    return {name: counts[name] if name in counts else _rounded(sizes[name] * settings[name].epochs) for name in sizes}


def _rounded(share: float) -> int:
    return max(1, int(share + 0.5))


def _rows(size: int, count: int, seed: str) -> NDArray[np.int64]:
    """``count`` of the rows 0 … size - 1: whole passes, and of the last one the rows that the seed draws first."""
    whole, rest = divmod(count, size)
    times = np.full(size, whole, np.int64)
    if rest:
        number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8])
        times[np.random.default_rng(number).permutation(size)[:rest]] += 1
    return np.repeat(np.arange(size), times)
