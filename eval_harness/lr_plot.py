"""Curves over seeds: one colour a method, bands for the 95 % interval, one panel a setting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eval_harness.lr_curve import Values, mean_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = (
    "#000000", "#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2", "#7f7f7f",
    "#bcbd22", "#003f5c", "#ffa600", "#58508d",
)  # fmt: skip
STYLES = ("-", "--", "-.", ":")


@dataclass
class Panel:
    """One set of axes."""

    title: str
    curves: Mapping[str, Mapping[float, Values]]
    """Method → {x: values over seeds}; a point where a seed diverged is left out."""
    x: str = "learning rate"
    y: str = "loss"
    log_x: bool = True
    log_y: bool = True
    top: float | None = None
    """Where the y axis ends; curves may leave it."""
    bottom: float | None = None


def plot(path: Path, panels: Sequence[Panel], columns: int = 3) -> None:
    """Writes a PNG.  A method has the same colour in all panels, by its place in the first panel that shows it."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(dict.fromkeys(name for panel in panels for name in panel.curves))
    looks = {
        name: {"color": COLOURS[i % len(COLOURS)], "linestyle": STYLES[i // len(COLOURS) % len(STYLES)]}
        for i, name in enumerate(names)
    }
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(5.2 * columns, 4.1 * rows), squeeze=False)
    for axis, panel in zip(axes.flat, panels, strict=False):
        for name, curve in panel.curves.items():
            xs = [x for x in sorted(curve) if None not in curve[x]]
            spans = [mean_interval([v for v in curve[x] if v is not None]) for x in xs]
            axis.plot(xs, [span.mean for span in spans], label=name, linewidth=1.6, **looks[name])
            # an interval may reach below 0, which a logarithmic axis does not have
            lows = [max(span.low, span.mean / 10) if panel.log_y else span.low for span in spans]
            axis.fill_between(xs, lows, [s.high for s in spans], color=looks[name]["color"], alpha=0.12, linewidth=0)
        axis.set_title(panel.title, fontsize=11)
        axis.set_xlabel(panel.x)
        axis.set_ylabel(panel.y)
        if panel.log_x:
            axis.set_xscale("log")
        if panel.log_y:
            axis.set_yscale("log")
        axis.set_ylim(bottom=panel.bottom, top=panel.top)
        axis.grid(alpha=0.25, which="both")
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    handles = {label: h for a in axes.flat for h, label in zip(*a.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="lower center", ncols=5, fontsize=9, frameon=False)
    figure.tight_layout(rect=(0, 0.02 + 0.22 / (4.1 * rows) * math.ceil(len(handles) / 5), 1, 1))
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as a PNG, whole or not at all, and closes it."""
    from matplotlib import pyplot

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}")
    figure.savefig(part, dpi=110, format="png")
    part.replace(path)
    pyplot.close(figure)
