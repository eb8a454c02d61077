"""Reads a data set's files as its authors hand them out: JSON rows with their fields, pictures inside their folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, TypeVar

from mlplora_vlm.errors import MendableError, MendableErrors

T = TypeVar("T")
_WORDS = {str: "text", int: "a whole number", list: "a list", dict: "an object"}


@dataclass(frozen=True)
class Official:
    """A data set's name and the page its files come from, as its messages give them."""

    name: str
    page: str

    def given(self, folder: Path | None) -> Path:
        """The user's folder; raises MendableError where none is given."""
        if folder is None:
            raise MendableError(
                f"{self.name} needs a folder",
                "data.folder or eval.folder",
                f"name the one with the official files ({self.page})",
            )
        return Path(folder)

    def present(self, wanted: Iterable[tuple[Path, str]]) -> None:
        """Raises MendableErrors with each of the (path, origin) that is missing; opens none of them."""
        missing = [
            MendableError(f"{self.name}'s {path.name} is missing", str(path), f"unpack it there from {origin}")
            for path, origin in wanted
            if not path.exists()
        ]
        if missing:
            raise missing[0] if len(missing) == 1 else MendableErrors(missing)

    def rows(self, path: Path, key: str | None = None) -> list[Any]:
        """The JSON file's list of rows, or that under ``key``; raises MendableError where it holds none."""
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))
            rows = rows if key is None else rows[key]
            if not isinstance(rows, list):
                raise TypeError("it holds no list of rows")
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise self.damaged(path, error) from error
        return rows

    def damaged(self, path: Path, error: Exception) -> MendableError:
        """The error for a file that is not what its name says."""
        what = f"not an official {self.name} file ({type(error).__name__}: {error})"
        return MendableError(what, str(path), f"take it again from {self.page}")

    def field(self, row: Any, key: str, kind: type[T], where: str) -> T:
        """``row[key]``; raises MendableError, naming ``where``, where it is missing or of another kind."""
        fix = f"take the file again from {self.page}"
        if not isinstance(row, dict) or key not in row:
            raise MendableError(f"a row lacks {key!r}", where, fix)
        value = row[key]
        if type(value) is not kind:  # by type: JSON's true is no number
            raise MendableError(f"a row's {key!r} is {value!r:.80}, not {_WORDS.get(kind, kind.__name__)}", where, fix)
        return value

    def texts(self, row: Any, key: str, where: str) -> tuple[str, ...]:
        """``row[key]`` where it is a list of one or more texts; raises as `field` does."""
        values = self.field(row, key, list, where)
        if not values or not all(isinstance(value, str) for value in values):
            what = f"a row's {key!r} is {values!r:.80}, not a list of texts"
            raise MendableError(what, where, f"take the file again from {self.page}")
        return tuple(values)


class Pictures:
    """The picture files under one folder, by the name that a row gives; none that lies outside is ever handed out.

    ``missing`` says how to mend a picture that is not there.
    """

    def __init__(self, folder: Path, missing: str) -> None:
        self.folder, self.missing = folder, missing
        self._inside: dict[Path, bool] = {}  # of each folder: to resolve every file would take longer than reading rows

    def __call__(self, name: str, where: str) -> Path:
        """The file's path; raises MendableError for a name that leads out, also through a link, and for no file."""
        path = self.folder / name
        if ".." in PurePath(name).parts or PurePath(name).is_absolute():
            raise self._leads_out(name, where)
        if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file() raises for a name that is too long
            raise MendableError("a picture is missing", str(path), self.missing)
        if path.parent not in self._inside:
            self._inside[path.parent] = self._is_inside(path.parent)
        if not self._inside[path.parent] or (path.is_symlink() and not self._is_inside(path)):
            raise self._leads_out(name, where)
        return path

    def _is_inside(self, path: Path) -> bool:
        return path.resolve().is_relative_to(self.folder.resolve())

    def _leads_out(self, name: str, where: str) -> MendableError:
        return MendableError(
            f"the picture {name!r} lies outside {self.folder}",
            where,
            "put the pictures into that folder itself: a row may name no other file",
        )
