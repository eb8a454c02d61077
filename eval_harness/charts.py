"""The geometry of the pages' charts, in percent of the drawing's width and height; the templates draw them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

from eval_harness.numbers import known

CONTROLS = {"blank": "blank picture", "shuffled": "shuffled pictures", "prior": "answer prior"}
DRAWN = 600  # points a line is drawn with at most
LOG_FROM = 20  # a loss whose largest value is this many times its smallest is drawn on a log axis


@dataclass(frozen=True)
class Bar:
    """One score with its interval; shares of 0 to 1."""

    name: str
    kind: str
    """``before``, ``after`` or ``control``."""
    score: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Group:
    """The scores of one category."""

    name: str
    n: int | None
    bars: tuple[Bar, ...]
    threshold: float | None
    """The highest upper bound of the controls: what a model that looks must lie above."""


@dataclass(frozen=True)
class Axis:
    """A horizontal axis of shares."""

    low: float
    high: float
    ticks: list[tuple[float, str]]
    """(percent from the left, label in percent)."""

    def at(self, value: float) -> float:
        """Where a value stands, in percent from the left."""
        return round(100 * (value - self.low) / (self.high - self.low), 3)


@dataclass(frozen=True)
class Curve:
    """The training log as paths in a 1000 × 1000 box whose y axis points down."""

    raw: str
    smooth: str
    held_out: tuple[tuple[float, float], ...]
    rate: str
    window: int
    log_scale: bool
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    top_rate: float | None
    points: list[list[float | None]]
    """(step, loss, smoothed loss, learning rate) for the reader's pointer."""
    span: tuple[float, float]
    """The first and the last step drawn."""


def score_groups(scores: Mapping[str, Any]) -> list[Group]:
    """One group a category, ``overall`` first, from result.json's ``scores``; what is missing is left out."""
    before, after = scores.get("before") or {}, scores.get("after") or {}
    named = [("before", "before", before.get("scores") or {}), ("after", "after", after.get("scores") or {})]
    controls = after.get("controls") or before.get("controls") or {}
    named += [(CONTROLS.get(key, key), "control", values or {}) for key, values in controls.items()]
    return _groups(named)


def _groups(named: Sequence[tuple[str, str, Mapping[str, Any]]]) -> list[Group]:
    categories = list(dict.fromkeys(["overall", *(category for _, _, values in named for category in values)]))
    groups = []
    for category in categories:
        cells = [(name, kind, values.get(category) or {}) for name, kind, values in named]
        bars = [
            Bar(name, kind, cell["score"], cell.get("low"), cell.get("high"))
            for name, kind, cell in cells
            if known(cell.get("score"))
        ]
        bounds = [bar.score if bar.high is None else bar.high for bar in bars if bar.kind == "control"]
        n = next((cell["n"] for _, _, cell in cells if cell.get("n")), None)
        if bars:
            groups.append(Group(category, n, tuple(bars), max(bounds, default=None)))
    return groups


def score_table(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """The same scores as rows by name and cells by group; a cell without a score is None."""
    names = dict.fromkeys(bar.name for group in groups for bar in group.bars)
    cells = [{bar.name: bar for bar in group.bars} for group in groups]
    return [{"name": name, "cells": [column.get(name) for column in cells]} for name in names]


def model_groups(results: Mapping[str, Mapping[str, Any]], prefix: str = "") -> list[Group]:
    """As `score_groups`, of each model's result.json by the model's name: the first as ``before``, then ``after``.

    One model alone is ``after``, with its controls.  ``prefix`` stands before the categories' names.
    """
    alone = len(results) == 1
    named = [
        (name, "after" if number or alone else "before", result.get("scores") or {})
        for number, (name, result) in enumerate(results.items())
    ]
    if alone:
        controls = next(iter(results.values())).get("controls") or {}
        named += [(CONTROLS.get(key, key), "control", values or {}) for key, values in controls.items()]
    return [Group(f"{prefix}{group.name}", group.n, group.bars, group.threshold) for group in _groups(named)]


def score_axis(groups: Iterable[Group]) -> Axis:
    """From 0 to 100 %, or to what the largest score or bound needs: CIDEr-D passes 100 %."""
    top = max([1.0, *(max(bar.score, bar.high or 0) for group in groups for bar in group.bars)])
    steps = [0, 0.25, 0.5, 0.75, 1.0] if top == 1 else _ticks(0, top)
    return _axis(steps)


def difference_axis(bounds: Iterable[float]) -> Axis:
    """Around 0, as far to each side, wide enough for every bound."""
    far = max([0.01, *map(abs, bounds)])
    steps = [step for step in _ticks(0, far) if step]
    return _axis([*(-step for step in reversed(steps)), 0.0, *steps], sign="+")


def _axis(steps: Sequence[float], sign: str = "") -> Axis:
    low, high = steps[0], steps[-1]
    every = 2 if len(steps) > 7 else 1  # all labels would not fit on a phone
    labelled = [number for number in range(len(steps)) if (number - steps.index(0)) % every == 0]
    labels = [f"{100 * step:{sign if step else ''}.3g}" if n in labelled else "" for n, step in enumerate(steps)]
    labels[labelled[-1]] += " %"
    places = [100 * (step - low) / (high - low) for step in steps]
    return Axis(low, high, list(zip(places, labels, strict=True)))


def loss_curve(log: Iterable[Mapping[str, Any]]) -> Curve | None:
    """The training log's curve, or None where it holds fewer than two losses."""
    rows = [row for row in log if known(row.get("step"))]
    train = [(row["step"], row["loss"], row.get("learning_rate")) for row in rows if known(row.get("loss"))]
    held = [(row["step"], row["eval_loss"]) for row in rows if known(row.get("eval_loss"))]
    if len(train) < 2:
        return None
    steps = [step for step, _, _ in train]
    window = max(1, round(len(train) / 40))
    smooth = smoothed([loss for _, loss, _ in train], window)
    values = [loss for _, loss, _ in train] + [loss for _, loss in held]
    log_scale = min(values) > 0 and max(values) > LOG_FROM * min(values)
    y_labels = _log_ticks(min(values), max(values)) if log_scale else _ticks(0, max(values) or 1)
    low, high = (log10(y_labels[0]), log10(y_labels[-1])) if log_scale else (y_labels[0], y_labels[-1])
    every = [*steps, *(step for step, _ in held)]
    first, last = min(every), max(every)

    def x(step: float) -> float:
        return (step - first) / ((last - first) or 1) * 1000

    def y(loss: float) -> float:
        return 1000 - ((log10(loss) if log_scale else loss) - low) / (high - low) * 1000

    rates = [(step, rate) for step, _, rate in train if known(rate)]
    top = max((rate for _, rate in rates), default=None)
    x_labels = [tick for tick in _ticks(first, last) if first <= tick <= last]
    points = [[step, loss, mean, rate] for (step, loss, rate), mean in zip(train, smooth, strict=True)]
    return Curve(
        raw=_path([(x(step), y(loss)) for step, loss, _ in train]),
        smooth=_path([(x(step), y(loss)) for step, loss in zip(steps, smooth, strict=True)]),
        held_out=tuple((round(x(step), 1), round(y(loss), 1)) for step, loss in held),
        rate=_path([(x(step), 1000 - rate / top * 1000) for step, rate in rates]) if top else "",
        window=window,
        log_scale=log_scale,
        x_ticks=[(x(tick) / 10, f"{tick:,.0f}") for tick in x_labels],
        y_ticks=[(y(tick) / 10, f"{tick:.3g}") for tick in y_labels],
        top_rate=top,
        points=_thinned(points),
        span=(first, last),
    )


def smoothed(values: Sequence[float], window: int) -> list[float]:
    """Exponential moving average, as old as a mean over ``window`` values, without a bias towards zero at its start."""
    keep, mean, weight, out = 1 - 2 / (window + 1), 0.0, 0.0, []
    for value in values:
        mean, weight = keep * mean + (1 - keep) * value, keep * weight + (1 - keep)
        out.append(mean / weight)
    return out


def _thinned(points: list) -> list:
    stride = ceil(len(points) / DRAWN)
    return points[::stride] + ([points[-1]] if (len(points) - 1) % stride else [])


def _path(points: list[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in _thinned(points)) if points else ""


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers from at most ``low`` to at least ``high``, four to eight of them."""
    raw = (high - low) / 5 or 1
    unit = 10 ** floor(log10(raw))
    step = next(size * unit for size in (1, 2, 5, 10) if size * unit >= raw * 0.999)
    return [index * step for index in range(floor(low / step), ceil(high / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5 times powers of ten from at most ``low`` to at least ``high``; over more than three decades, 1 alone."""
    first, last = floor(log10(low)), ceil(log10(high))
    sizes = (1, 2, 5) if log10(high / low) <= 3 else (1,)
    every = [size * 10.0**power for power in range(first, last + 1) for size in sizes]
    inner = [tick for tick in every if low <= tick <= high]
    return [max(tick for tick in every if tick <= low), *[t for t in inner if t > low], *_above(every, high)]


def _above(ticks: list[float], high: float) -> list[float]:
    return [] if high in ticks else [min(tick for tick in ticks if tick > high)]
