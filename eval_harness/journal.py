"""Answers on disk as soon as they are there: a run that was killed goes on from them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mlplora_vlm.files import json_text

FOLDER = ".answers"


class Journal:
    """The answers to one part of an evaluation, which every process appends to a file of its own.

    ``key`` stands for all that an answer hangs on: answers under another key are never read, and are removed.
    """

    def __init__(self, out: Path, part: str, key: str, process: int) -> None:
        self._folder, self._name, self._part = out / FOLDER, f"{part}-{key[:32]}", part
        self._own = self._folder / f"{self._name}.{process}.jsonl"

    def known(self) -> dict[str, str]:
        """Row id → answer, of all processes that ever ran; a line that was not written to its end does not count."""
        found: dict[str, str] = {}
        for path in sorted(self._folder.glob(f"{self._name}.*.jsonl")):
            found.update(answers_in(path))
        return found

    def clear_others(self) -> None:
        """Removes what stands under other keys."""
        for path in self._folder.glob(f"{self._part}-*.jsonl"):
            if not path.name.startswith(f"{self._name}."):
                path.unlink(missing_ok=True)

    def write(self, answers: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """Yields each (row id, answer) once it is on its way to the disk, which is waited for every few answers."""
        self._folder.mkdir(parents=True, exist_ok=True)
        _cut_torn_line(self._own)
        with self._own.open("a", encoding="utf-8") as file:
            for number, (name, text) in enumerate(answers, 1):
                file.write(json_text({"id": name, "prediction": text}) + "\n")
                if number % CHUNK == 0:
                    flush(file)
                yield name, text
            flush(file)

    def remove(self) -> None:
        """Forgets the part: its answers stand elsewhere now."""
        for path in self._folder.glob(f"{self._part}-*.jsonl"):
            path.unlink(missing_ok=True)
        if self._folder.is_dir() and not any(self._folder.iterdir()):
            self._folder.rmdir()


CHUNK = 8  # answers


def flush(file: Any) -> None:
    """Everything written so far is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def answers_in(path: Path) -> Iterator[tuple[str, str]]:
    """(row id, answer) of each line; one that a killed process left unfinished, or that is damaged, does not count."""
    for line in path.read_bytes().split(b"\n")[:-1]:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("id"), str) and isinstance(row.get("prediction"), str):
            yield row["id"], row["prediction"]


def _cut_torn_line(path: Path) -> None:
    """Cuts off what follows the last line end."""
    if path.is_file():
        whole = path.read_bytes().rpartition(b"\n")
        os.truncate(path, len(whole[0]) + len(whole[1]))
