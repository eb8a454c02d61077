"""Which files of an output folder the stages wrote: the only ones that a run may remove."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import files_below, read_json, some_names, write_json

RECORD = ".stages/files.json"


class OwnFiles:
    """The files in the stages' ``places`` (files and folders in ``out``), told apart from what a user put there.

    ``.stages/files.json`` lists the stages' own files. While a stage runs it also lists the ``others`` that were there
    before, so that what a killed stage left is known too.
    """

    def __init__(self, out: Path, places: Sequence[str], begun: Collection[str]) -> None:
        """``begun``: places of stages that ran before; without a record, all that is in them is the stages' own."""
        self.out, self.places, self.begun = out, places, begun

    def refuse_others(self, places: Collection[str]) -> None:
        """Raise `MendableError` where ``places``, which are to be removed, hold files that no stage wrote."""
        if others := self._others(places):
            raise MendableError(
                f"expected only files that the stages wrote in {', '.join(places)}, got {some_names(others)}; "
                "nothing was removed",
                str(self.out),
                "move them elsewhere, or choose another output folder with OUT=…",
            )

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Record the files that appear in the places inside as the stages' own."""
        others = self._others(self.places)
        self._write(others)
        try:
            yield
        finally:
            self._write(others, done=True)

    def remove(self, place: str) -> None:
        """Remove a place that holds the stages' own files alone."""
        path = self.out / place
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def _others(self, places: Collection[str]) -> list[str]:
        return sorted(self._present(places) - self._own())

    def _own(self) -> set[str]:
        path = self.out / RECORD
        if not path.is_file():
            return self._present(self.begun)
        record = read_json(path)
        return set(record["own"]) if record["others"] is None else self._present(self.places) - set(record["others"])

    def _write(self, others: list[str], done: bool = False) -> None:
        own = sorted(self._present(self.places) - set(others))
        write_json(self.out / RECORD, {"own": own, "others": None if done else others})

    def _present(self, places: Collection[str]) -> set[str]:
        found: set[str] = set()
        for place in places:
            path = self.out / place
            if path.is_dir() and not path.is_symlink():
                found.update(f"{place}/{name}" for name in files_below(path))
            elif path.is_symlink() or path.exists():
                found.add(place)
        return found
