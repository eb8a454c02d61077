"""What the finished cells of a sweep say: a summary for machines, curves, a table and a sentence for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval_harness import numbers
from eval_harness.lr_curve import Values, decades, difference, mean, mean_interval, summarise, width
from mlplora_vlm import provenance
from mlplora_vlm.files import write_json
from recipes.sweep.cells import Cells
from recipes.sweep.grid import Cell

if TYPE_CHECKING:
    from rich.table import Table

METRICS = {
    "held_out_loss": "held-out loss",
    "accuracy": "exact answers on held-out rows",
    "train_loss": "training loss",
}
"""What is measured of a cell; the first one chooses the learning rate."""
Curves = Mapping[str, Mapping[float, Mapping[int, Mapping[str, float | None]]]]
"""Label → learning rate → seed → metric → value; None where the training diverged."""


def curves(grid: Sequence[Cell], cells: Cells) -> Curves:
    """The finished cells' values."""
    found: dict[str, dict[float, dict[int, dict[str, float | None]]]] = {cell.label: {} for cell in grid}
    for cell in grid:
        result = cells.result(cell)
        if result is not None:
            held_out = result["held_out"] or {}
            found[cell.label].setdefault(cell.lr, {})[cell.seed] = {
                "held_out_loss": held_out.get("loss"),
                "accuracy": held_out.get("accuracy"),
                "train_loss": result["train_loss"],
            }
    return found


def of_metric(curve: Mapping[float, Mapping[int, Mapping[str, float | None]]], metric: str) -> dict[float, Values]:
    """One label's {learning rate: values by seed}, in rising order of both."""
    return {lr: [values[metric] for _, values in sorted(seeds.items())] for lr, seeds in sorted(curve.items())}


def summary(found: Curves) -> dict[str, Any]:
    """By label: the learning rate with the lowest held-out loss, and what was measured there.

    ``held_out_loss`` (as `eval_harness.lr_curve.summarise`), ``accuracy`` and ``train_loss`` hold means and 95 %
    intervals over seeds; ``width_at_best`` is how many decades of learning rate come within 5 % of the best held-out
    loss of all labels.  A label that always diverged, or has no finished cell, has ``diverged`` and ``cells`` alone.
    """
    labels: dict[str, dict[str, Any]] = {}
    for label, curve in found.items():
        cells = [values for seeds in curve.values() for values in seeds.values()]
        losses = of_metric(curve, "held_out_loss")
        labels[label] = {"cells": len(cells), "diverged": sum(cell["held_out_loss"] is None for cell in cells)}
        if any(None not in values for values in losses.values()):
            best = summarise(losses)
            at_best = curve[best["best_lr"]].values()
            labels[label] |= {"best_lr": best.pop("best_lr"), "held_out_loss": best} | {
                metric: mean_interval([v for cell in at_best if (v := cell[metric]) is not None])._asdict()
                for metric in METRICS
                if metric != "held_out_loss"
            }
    lowest = min((one["held_out_loss"]["mean"] for one in labels.values() if "best_lr" in one), default=math.nan)
    for label, one in labels.items():
        if "best_lr" in one:
            losses = of_metric(found[label], "held_out_loss")
            reached, wider = width(list(losses), [mean(values) for values in losses.values()], best=lowest)
            one["width_at_best"] = {"width": round(reached, 3), "wider": wider}
    return labels


def sentence(found: Curves, labels: Mapping[str, Mapping[str, Any]]) -> str:
    """Which label is best, and of each other one whether the seeds tell it apart; plain text."""
    ranked = sorted((n for n in labels if "best_lr" in labels[n]), key=lambda n: labels[n]["held_out_loss"]["mean"])
    if not ranked:
        return "No training has finished without diverging."
    best = ranked[0]
    said = [f"Lowest held-out loss: {best} at {numbers.rate(labels[best]['best_lr'])}, {_span(labels[best])}"]
    if not labels[best]["held_out_loss"]["interior"]:
        said[0] += " (at an end of the grid: a wider one may find a better rate)"
    for other in ranked[1:]:
        mine, its = labels[best]["held_out_loss"], labels[other]["held_out_loss"]
        text = f"{other} at {numbers.rate(labels[other]['best_lr'])}: {_span(labels[other])}; "
        here, there = (found[n][labels[n]["best_lr"]] for n in (best, other))
        seeds = sorted(here.keys() & there.keys())
        if len(seeds) > 1:
            apart = difference(*([_loss(cell[seed]) for seed in seeds] for cell in (there, here)))
            sure = apart.low > 0 or apart.high < 0
            text += "the intervals overlap" if its["low"] <= mine["high"] else "the intervals do not overlap"
            text += f", and paired by seed it is {'' if sure else 'not shown to be '}{'worse' if sure else 'different'}"
            text += f" ({apart.mean:+.3f}, {apart.low:+.3f} to {apart.high:+.3f})"
        else:
            text += "from one seed nothing follows"
        said.append(text)
    never = [name for name in labels if labels[name]["cells"] and name not in ranked]
    said += [f"{name} diverged at every learning rate" for name in never]
    return ". ".join(said) + "."


def _loss(cell: Mapping[str, float | None]) -> float:
    loss = cell["held_out_loss"]
    assert loss is not None, "a learning rate at which a seed diverged is never the best"
    return loss


def _span(one: Mapping[str, Any], metric: str = "held_out_loss", digits: int = 3) -> str:
    held = one[metric]
    return f"{held['mean']:.{digits}f} ({held['low']:.{digits}f}–{held['high']:.{digits}f})"


def table(labels: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """(heads, rows) of the summary."""
    heads = ["method", "best LR", "held-out loss", "exact answers", "training loss", "decades within 5 % of its own",
             "decades within 5 % of the lowest loss", "diverged"]  # fmt: skip
    rows = []
    for label, one in labels.items():
        of_cells = f"{one['diverged']} of {one['cells']}"
        if "best_lr" not in one:
            rows.append([label, *[numbers.MISSING] * (len(heads) - 2), of_cells])
            continue
        accuracy, loss = one["accuracy"], one["held_out_loss"]
        span = numbers.interval(max(0, accuracy["low"]), min(1, accuracy["high"]))
        rows.append(
            [
                label,
                numbers.rate(one["best_lr"]) + ("" if loss["interior"] else " (end of grid)"),
                _span(one),
                f"{numbers.percent(accuracy['mean'])} ({span})",
                _span(one, "train_loss"),
                decades(loss["width"], loss["wider"]),
                decades(one["width_at_best"]["width"], one["width_at_best"]["wider"]),
                of_cells,
            ]
        )
    return heads, rows


def rich_table(labels: Mapping[str, Mapping[str, Any]]) -> Table:
    """`table`, for the terminal."""
    from rich.table import Table

    heads, rows = table(labels)
    shown = Table(caption="means over seeds with 95 % intervals, at the learning rate with the lowest held-out loss")
    for number, head in enumerate(heads):
        shown.add_column(head, justify="right" if number else "left")
    for row in rows:
        shown.add_row(*row)
    return shown


def draw(path: Path, found: Curves) -> None:
    """A PNG: each metric over the learning rate, one line a label, with the seeds' band."""
    from eval_harness.lr_plot import Panel, plot

    drawn = {label: curve for label, curve in found.items() if curve}
    panels = []
    for metric, title in METRICS.items():
        lines = {label: of_metric(curve, metric) for label, curve in drawn.items()}
        if metric == "accuracy":
            panels.append(Panel(title, lines, y="share", log_y=False, bottom=0.0, top=1.0))
        else:
            panels.append(Panel(title, lines))
    plot(path, panels)


def _listed(curve: Mapping[float, Mapping[int, Mapping[str, float | None]]]) -> list[dict[str, Any]]:
    metrics = {metric: of_metric(curve, metric) for metric in METRICS}
    return [{"lr": lr, "seeds": sorted(curve[lr])} | {m: metrics[m][lr] for m in METRICS} for lr in sorted(curve)]


def write_summary(grid: Sequence[Cell], out: Path) -> dict[str, Any]:
    """Writes ``out``/sweep.json from the finished cells, and curves.png where there is a point; returns the JSON."""
    cells = Cells(out)
    found = curves(grid, cells)
    labels = summary(found)
    recipes = {cell.label: cell.recipe.to_dict() for cell in grid}
    result = {
        "recipe": {key: value for key, value in next(iter(recipes.values())).items() if key != "adapter"},
        "adapters": {label: whole["adapter"] for label, whole in recipes.items()},
        "learning_rates": sorted({cell.lr for cell in grid}),
        "seeds": sorted({cell.seed for cell in grid}),
        "cells": {"finished": sum(one["cells"] for one in labels.values()), "all": len(grid)},
        "seconds": sum(r["seconds"]["all"] for cell in grid if (r := cells.result(cell)) is not None),
        "labels": labels,
        "sentence": sentence(found, labels),
        "curves": {label: _listed(curve) for label, curve in found.items()},
        "commit": provenance.commit(),
        "versions": provenance.versions(),
        "device": provenance.device(),
    }
    write_json(out / "sweep.json", result)
    if any("best_lr" in one for one in labels.values()):  # else there is no point to draw
        draw(out / "curves.png", found)
    return result
