"""The cells of a sweep on disk: one JSON each, and a lock that goes with the process that works on it."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlplora_vlm.files import read_json, write_json
from recipes.sweep.grid import Cell


class Cells:
    """``folder``/cells/: several processes may share it, on one machine or on a file system with locks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "cells"
        self.folder.mkdir(parents=True, exist_ok=True)

    def result(self, cell: Cell) -> dict[str, Any] | None:
        """What the cell gave; None where it is not finished."""
        path = self._path(cell)
        return read_json(path) if path.is_file() else None

    def finish(self, cell: Cell, result: dict[str, Any]) -> None:
        """Writes the result, whole or not at all."""
        write_json(self._path(cell), {"label": cell.label, "lr": cell.lr, "seed": cell.seed, **result})

    @contextmanager
    def claimed(self, cell: Cell) -> Iterator[bool]:
        """Whether the cell is this process's to do: nobody has finished it or is at work on it."""
        path = self.folder / f".{cell.name}.lock"
        with path.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield self.result(cell) is None  # looked at under the lock: it may just have been finished

    def _path(self, cell: Cell) -> Path:
        return self.folder / f"{cell.name}.json"
