"""Numbers about many samples that are no mean of scores, with bootstrap intervals: F1, BLEU, MME's totals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eval_harness.stats import resampled_sums

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """A function of sums over samples: TP / (TP + FP), say, of each sample's TP and FP."""

    counts: Numbers
    """(units, k): what each unit adds: a sample, or samples that belong together and are drawn as a whole."""
    value: Callable[[Numbers], Numbers]
    """(…, k) sums → (…) numbers, NaN where there is none (no sample was called "yes")."""
    share: bool = True
    """A share of 1, shown in percent; False: a number that is shown as it is."""


def mean(scores: Sequence[float]) -> Figure:
    """The mean of the scores."""
    return ratio([(score, 1.0) for score in scores])


def ratio(counts: Iterable[tuple[float, float]], share: bool = True) -> Figure:
    """Σ first / Σ second of each unit's pair."""
    import numpy as np

    return Figure(
        np.asarray(list(counts), dtype=np.float64).reshape(-1, 2), lambda s: divided(s[..., 0], s[..., 1]), share
    )


def divided(above: Numbers, below: Numbers) -> Numbers:
    """above / below, NaN where ``below`` is 0."""
    import numpy as np

    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=np.asarray(below) != 0)


def group(name: str) -> str:
    """What rows that belong together share: the id up to its last slash (MME's pictures, a question's rotations)."""
    return name.rpartition("/")[0]


def grouped(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The rows of each `group`, in their order."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(group(row["id"]), []).append(row)
    return found


def measured(figure: Figure, seed: int = 0) -> dict[str, Any]:
    """``value`` of all units, ``low`` and ``high`` of its 95 % percentile bootstrap over units, ``n`` units, ``share``.

    A number that does not exist is None.  Resamples for which there is none are left out of the bounds.
    """
    import numpy as np

    n = len(figure.counts)
    found = float(figure.value(figure.counts.sum(0))) if n else float("nan")
    if np.isnan(found):
        return {"value": None, "low": None, "high": None, "n": n, "share": figure.share}
    values = np.concatenate([figure.value(sums) for sums in resampled_sums(figure.counts, seed)])
    low, high = (float(bound) for bound in np.nanpercentile(values, (2.5, 97.5)))
    return {"value": found, "low": min(low, found), "high": max(high, found), "n": n, "share": figure.share}
