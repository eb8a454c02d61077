"""A JSON lines file of answers that a killed process leaves whole: what is there is not asked again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from eval_harness.journal import flush
from eval_harness.predictions import write_rows
from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import json_text


class AnswerFile:
    """Rows of one run (a model with its options), each with what was asked; rows of other runs are never mixed in.

    ``answered`` holds the rows that are there, by their ``key``; those with an ``error`` are dropped, to be tried anew.
    Raises MendableError where the file holds other rows; ``force`` begins it anew instead.
    """

    def __init__(self, path: Path, run: str, force: bool = False) -> None:
        self.path, self.run = path, run
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [] if force or not path.is_file() else _whole_rows(path, run)
        self.answered = {row["key"]: row for row in rows if "error" not in row}
        write_rows(path, self.answered.values())  # without the torn line, and what is to be tried anew
        self._file = path.open("a", encoding="utf-8")

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Appends the rows, and comes back when they are on the disk."""
        for row in rows:
            self._file.write(json_text({**row, "run": self.run}) + "\n")
        flush(self._file)

    def __enter__(self) -> AnswerFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def sort(self, keys: Iterable[str]) -> None:
        """Puts the rows with these keys first, in that order; the file is closed."""
        self._file.close()
        rows = {row["key"]: row for row in _whole_rows(self.path, self.run)}
        first = [rows.pop(key) for key in keys if key in rows]
        write_rows(self.path, [*first, *rows.values()])


def _whole_rows(path: Path, run: str) -> list[dict[str, Any]]:
    """The file's rows but for a last line that breaks off; MendableError where one is not this run's."""
    *lines, _torn = path.read_bytes().split(b"\n")  # what follows the last line break is nothing, or broken off
    fix = "name another file with --out, or begin it anew with --force"
    if not lines and _torn:
        raise MendableError("the file is not one of answers", str(path), fix)
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            rows.append(row)
            own, _ = row["run"], row["key"]
        except (ValueError, KeyError, TypeError) as error:
            raise MendableError("the file holds lines that are no answers", f"{path}:{number}", fix) from error
        if own != run:
            raise MendableError("the file holds answers of another model, or to other options", f"{path}:{number}", fix)
    return rows
