"""What a learning-rate sweep says: the best rate, the value there over seeds, and how wide the good range is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

TOLERANCE = 0.05
"""The good range is where the mean is within this share of the best."""

Values = Sequence[float | None]
"""One value a seed; None where the run diverged."""


class Interval(NamedTuple):
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float


def learning_rates(low: float, high: float, per_decade: int = 3) -> list[float]:
    """A grid that is even in log10, from ``low`` to at least ``high`` (two digits: 1e-3, 2.2e-3, 4.6e-3, 1e-2)."""
    first, last = (round(math.log10(rate) * per_decade, 6) for rate in (low, high))
    return [float(f"{10 ** (i / per_decade):.1e}") for i in range(math.floor(first), math.ceil(last) + 1)]


def mean_interval(values: Sequence[float]) -> Interval:
    """The mean over seeds and its 95 % interval by Student's t; one value has no interval but itself."""
    n, mean = len(values), sum(values) / len(values)
    if n < 2:
        return Interval(mean, mean, mean)
    from scipy.stats import t

    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    half = float(t.ppf(0.975, n - 1)) * deviation / math.sqrt(n)
    return Interval(mean, mean - half, mean + half)


def difference(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Mean of ``first`` − ``second``, paired by seed, and its 95 % interval."""
    return mean_interval([a - b for a, b in zip(first, second, strict=True)])


def mean(values: Values) -> float:
    """The mean over seeds; infinite where a seed diverged."""
    return sum(v for v in values if v is not None) / len(values) if None not in values else math.inf


def summarise(curve: Mapping[float, Values], lower_is_better: bool = True) -> dict[str, Any]:
    """What a curve {learning rate: values over seeds} says: the best rate, the value there, how wide the range is.

    ``width``: see `width`.  ``interior``: the best learning rate is not at an end of the grid, so that the grid is wide
    enough to call it the best.  ``wider``: the range reaches an end of the grid, so that the width is a lower bound.
    A rate at which any seed diverged is never the best one.
    """
    rates = sorted(curve)
    means = [mean(curve[rate]) for rate in rates]
    scores = means if lower_is_better else [-m if math.isfinite(m) else math.inf for m in means]
    best = min(range(len(rates)), key=scores.__getitem__)
    if not math.isfinite(means[best]):
        raise ValueError("every learning rate diverged")
    decades, wider = width(rates, means, lower_is_better)
    return {
        "best_lr": rates[best],
        **mean_interval([v for v in curve[rates[best]] if v is not None])._asdict(),
        "width": round(decades, 3),
        "wider": wider,
        "interior": 0 < best < len(rates) - 1,
    }


def width(
    rates: Sequence[float], means: Sequence[float], lower_is_better: bool = True, best: float | None = None
) -> tuple[float, bool]:
    """(decades of learning rate, whether an end of the grid cuts them off) around the best one within 5 % of it.

    ``means``: positive, infinite where a run diverged; the curve between grid points is a straight line in the
    logarithms of both.  ``best``: what to be within 5 % of, by default the curve's own best; 0 decades where the curve
    never gets there.  Only the range that holds the curve's best counts.
    """
    # upside down where more is better: "within 5 %" is then value ≥ 0.95·best
    sign = 1.0 if lower_is_better else -1.0
    logs = [math.inf if not math.isfinite(m) else sign * math.log(max(m, 1e-12)) for m in means]
    middle = min(range(len(logs)), key=logs.__getitem__)
    edge = sign * math.log((1 + sign * TOLERANCE) * (best if best is not None else means[middle]))
    if logs[middle] > edge:
        return 0.0, False
    total, wider = 0.0, False
    for step in (-1, 1):
        i = middle
        while 0 <= i + step < len(rates) and logs[i + step] <= edge:
            i += step
        reached = math.log10(rates[i])
        if not 0 <= i + step < len(rates):
            wider = True
        elif math.isfinite(logs[i + step]):
            part = (edge - logs[i]) / (logs[i + step] - logs[i])
            reached += part * (math.log10(rates[i + step]) - reached)
        total += abs(reached - math.log10(rates[middle]))
    return total, wider


def decades(value: float, wider: bool) -> str:
    """A width: ``≥ 1.25`` where the grid cuts the range off."""
    return f"{'≥ ' if wider else ''}{value:.2f}"
