"""Works on the cells of a sweep until none is left that nobody works on, then says what came of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval_harness import numbers
from recipes.sweep.cells import Cells
from recipes.sweep.grid import Cell
from recipes.sweep.summary import write_summary

SHOWN_EVERY = 60.0
"""Seconds between two summaries of an unfinished sweep."""


def work(grid: Sequence[Cell], out: Path) -> None:
    """Finishes every cell of ``grid`` that no other process is at; results go to ``out``/cells/.

    The model is loaded when there is a first cell to do.  Meanwhile the summary is written anew every minute or so.
    """
    from recipes.sweep.measure import Base, measure

    cells, base = Cells(out), None
    begun, before = time.perf_counter(), _finished(cells, grid)
    shown = begun
    if before:
        print(f"{before} of {len(grid)} cells are done before", flush=True)
    for cell in grid:
        if cells.result(cell) is not None:
            continue
        with cells.claimed(cell) as mine:
            if not mine:
                continue
            base = base or Base(cell.recipe)
            found = measure(base, cell.recipe)
            cells.finish(cell, found)
        done = _finished(cells, grid)
        # by all processes together: what they did since this one began tells how fast they go on
        left = (time.perf_counter() - begun) / max(1, done - before) * (len(grid) - done)
        print(f"[{done}/{len(grid)}] {_line(cell, found)}; about {numbers.duration(left)} left", flush=True)
        if time.perf_counter() - shown > SHOWN_EVERY:
            write_summary(grid, out)
            shown = time.perf_counter()


def _finished(cells: Cells, grid: Sequence[Cell]) -> int:
    return sum(cells.result(cell) is not None for cell in grid)


def _line(cell: Cell, found: dict[str, Any]) -> str:
    what = f"{cell.label}, lr {numbers.rate(cell.lr)}, seed {cell.seed}"
    took = numbers.duration(found["seconds"]["all"])
    if found["diverged"]:
        return f"{what}: diverged after {len(found['losses'])} steps ({took})"
    held_out = found["held_out"]
    return (
        f"{what}: training loss {found['train_loss']:.3f}, held out {held_out['loss']:.3f} and "
        f"{numbers.percent(held_out['accuracy'])} exact ({took})"
    )
