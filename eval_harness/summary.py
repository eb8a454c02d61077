"""Several evaluations in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eval_harness import numbers

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Line:
    """One model's result in one task."""

    model: str
    task: str
    result: Mapping[str, Any]


def summary_table(lines: Sequence[Line]) -> Table:
    """Model, task, score with its interval, rows, figures, and how fast it was."""
    from rich.table import Table

    table = Table("model", "task", "score", "95 %", "rows", "figures", "rows/s", box=None, header_style="bold")
    for line in lines:
        score = line.result["scores"]["overall"]
        rate = line.result["samples_per_second"]
        sample = "" if line.result["sample"] == "all rows" else " (a sample)"
        table.add_row(
            line.model,
            line.task,
            numbers.percent(score["score"]),
            numbers.interval(score["low"], score["high"]),
            numbers.count(score["n"]) + sample,
            ", ".join(f"{name} {shown(figure)}" for name, figure in line.result["figures"].items()),
            numbers.decimal(rate, 1) if rate else numbers.MISSING,
        )
    return table


def shown(figure: Mapping[str, Any]) -> str:
    """A figure's value: a share in percent, anything else as a number."""
    return numbers.percent(figure["value"]) if figure["share"] else numbers.decimal(figure["value"], 1)
