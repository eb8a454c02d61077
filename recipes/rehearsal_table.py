"""Rehearsals as a table: what passed, how long it took, what it held, what was cut."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlplora_vlm.files import read_json, write_json

ALL = "rehearsals.json"
HEADS = (
    "recipe",
    "preset",
    "ZeRO",
    "base",
    "states",
    "minutes",
    "peak GiB",
    "collapse error",
    "merge error",
    "answers",
)


def results(folder: Path) -> list[dict[str, Any]]:
    """Every rehearsal's result below ``folder``, by recipe and preset."""
    return [read_json(path) for path in sorted(folder.glob("*/rehearsal.json"))]


def rows(found: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """A row for each rehearsal, in the order of `HEADS`."""
    return [_row(result) for result in found]


def show(folder: Path) -> None:
    """Print the table of all rehearsals in ``folder``, and write them to its `ALL`."""
    from rich.console import Console
    from rich.table import Table

    found, table = results(folder), Table(*HEADS)
    write_json(folder / ALL, found)
    for row in rows(found):
        table.add_row(*row)
    Console(width=140).print(table)


def _row(result: Mapping[str, Any]) -> list[str]:
    if "failed" in result:
        return [result["recipe"], result["preset"], "failed", *[""] * (len(HEADS) - 3)]
    verify = result["verify"]
    peak = max(stage["peak_memory_mib"] for stage in result["stages"].values())
    processes = f", {result['processes']} processes" if result["processes"] > 1 else ""
    same = verify["n"] - verify["different"]
    return [
        result["recipe"],
        result["preset"],
        f"{result['zero_stage']}{processes}",
        verify["dtype"] if result["quantization"] == "none" else result["quantization"],
        result["states"],
        f"{result['seconds'] / 60:.1f}",
        f"{peak / 1024:.1f}",
        f"{verify['collapse_error']:.1e}",
        f"{verify['merge_error']:.1e}",
        f"{same} of {verify['n']} equal",
    ]
