"""Horizontal bars of what has no axis to run along: methods, ways, configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from eval_harness.lr_plot import COLOURS, save

Span = tuple[float, float, float]
"""A value and where its interval begins and ends."""


@dataclass
class Bars:
    """One set of axes: a row for each name, from the top down."""

    title: str
    names: Sequence[str]
    series: Mapping[str, Sequence[float | Span]]
    """Kind → a value a name, or a `Span`, whose interval is drawn as a whisker."""
    x: str
    stacked: bool = False
    """The kinds behind one another in one bar instead of below one another."""
    log_x: bool = False
    lines: Mapping[str, float] = field(default_factory=dict)
    """Upright lines, such as a bound, by their label."""


def plot_bars(path: Path, panels: Sequence[Bars]) -> None:
    """Writes a PNG with the panels side by side; each names its own rows."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = max(len(panel.names) * (1 if panel.stacked else len(panel.series)) for panel in panels)
    height = 1.6 + (0.34 if any(panel.stacked for panel in panels) else 0.24) * max(rows, 4)
    figure, axes = pyplot.subplots(1, len(panels), figsize=(6.6 * len(panels), height), squeeze=False)
    for axis, panel in zip(axes.flat, panels, strict=True):
        thick = 0.75 if panel.stacked else 0.8 / len(panel.series)
        behind = [0.0] * len(panel.names)
        for number, (kind, values) in enumerate(panel.series.items()):
            spans = [value if isinstance(value, tuple) else (value, value, value) for value in values]
            middles = [span[0] for span in spans]
            offset = 0.0 if panel.stacked else (number - (len(panel.series) - 1) / 2) * thick
            places = [place + offset for place in range(len(panel.names))]
            # the first kind is black in a plot of curves, which is heavy in a bar
            colour = COLOURS[1 + (number + 1) % (len(COLOURS) - 1)]
            whiskers = [[m - low for m, low, _ in spans], [high - m for m, _, high in spans]]
            axis.barh(
                places, middles, thick, left=behind if panel.stacked else None, color=colour, label=kind,
                xerr=whiskers if any(map(any, whiskers)) else None, error_kw={"capsize": 2, "linewidth": 1},
            )  # fmt: skip
            if panel.stacked:
                behind = [a + b for a, b in zip(behind, middles, strict=True)]
        for (label, place), style in zip(panel.lines.items(), ("--", ":", "-."), strict=False):
            axis.axvline(place, color="black", linestyle=style, linewidth=1, label=label)
        axis.set_yticks(range(len(panel.names)), panel.names, fontsize=9)
        axis.invert_yaxis()
        axis.set_xlabel(panel.x)
        axis.set_title(panel.title, fontsize=11)
        axis.grid(alpha=0.25, axis="x")
        axis.margins(y=0.02)
        if panel.log_x:
            axis.set_xscale("log")
        if len(panel.series) + len(panel.lines) > 1:
            below = -0.77 / height  # of the axes' height, under their label
            axis.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, below), ncols=4)
    figure.tight_layout()
    save(figure, path)
