"""A mean with its 95 % interval."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

RESAMPLES = 10_000
DRAWN_AT_ONCE = 4_000_000  # numbers: bounds the bootstrap's memory
_Z = 1.959963984540054  # the normal distribution's 97.5 % point


@dataclass(frozen=True)
class Score:
    """The mean of ``n`` scores, and the bounds of its 95 % interval."""

    score: float
    low: float
    high: float
    n: int


def interval(scores: Sequence[float], seed: int = 0) -> Score:
    """Percentile bootstrap (Efron 1979): the 2.5 % and 97.5 % points of the means of `RESAMPLES` seeded resamples.

    Scores that are all right or wrong (0 or 1), and scores that are all equal, get an interval no narrower than
    Wilson's (1927). The bootstrap knows no doubt about 0 of 500 (its interval is a point) and too little about 1 of
    500, and bounds are compared with each other to judge a model.  Away from the ends the two agree.  Raises
    ValueError where there are no scores or one lies below 0.
    """
    import numpy as np

    values = np.asarray(scores, dtype=np.float64)
    if not values.size or values.min() < 0:
        raise ValueError("an interval needs at least one score, none of them below 0")
    n, mean, kinds = values.size, float(values.mean()), set(values.tolist())
    means = np.concatenate([sums[:, 0] / n for sums in resampled_sums(values[:, None], seed)])
    low, high = (float(bound) for bound in np.percentile(means, (2.5, 97.5)))
    if mean <= 1 and (len(kinds) == 1 or kinds == {0.0, 1.0}):
        wilson_low, wilson_high = wilson(mean, n)
        low, high = min(low, wilson_low), max(high, wilson_high)
    return Score(mean, min(low, mean), max(high, mean), n)  # the mean itself may be off by a rounding


def resampled_sums(counts: Numbers, seed: int) -> Iterator[Numbers]:
    """Sums over `RESAMPLES` seeded draws of all units with replacement, some draws at once: (units, k) → (draws, k)."""
    import numpy as np

    # Drawing n units with replacement is a multinomial draw over the distinct ones: the same bootstrap, much faster
    distinct, times = np.unique(counts, axis=0, return_counts=True)
    drawing, at_once = np.random.default_rng(seed), max(1, DRAWN_AT_ONCE // len(distinct))
    for start in range(0, RESAMPLES, at_once):
        draws = min(at_once, RESAMPLES - start)
        yield drawing.multinomial(len(counts), times / len(counts), size=draws) @ distinct


def wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a share of ``n`` trials."""
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z * sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2)) / (1 + _Z**2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)
