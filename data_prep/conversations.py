"""Sources of conversations in a user's JSON file: which file and which pictures, and its rows in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.columns import numbered, pictures_in
from data_prep.example import Example
from data_prep.records import find_file, records
from data_prep.rows import Row, RowError
from data_prep.turns import Conversation, to_example

if TYPE_CHECKING:
    from data_prep.sniff import Sample

OTHER = ("video", "videos", "audio", "audios", "tools")
"""Keys of what a row may also hold, and no `Example` can."""


@dataclass(frozen=True)
class ConversationFiles:
    """A source of one format; its module's ``check`` and ``rows`` are this one's."""

    source: str
    suffixes: tuple[str, ...]
    read: Callable[[Any, str], Conversation]
    """(record, where) → the row's conversation; raises RowError, naming ``where``."""

    def check(
        self,
        split: str,
        folder: Path | None = None,
        file: str | None = None,
        pictures: Path | None = None,
        urls: bool = False,
    ) -> None:
        """Raises MendableError unless the folder has one file for the split, and the pictures' folder is there."""
        find_file(folder, file, split, self.suffixes)
        pictures_in(folder or Path(), pictures)

    def rows(
        self,
        split: str,
        folder: Path | None = None,
        file: str | None = None,
        pictures: Path | None = None,
        urls: bool = False,
    ) -> Iterator[Row]:
        """The file's conversations in its order; the last question is the row's own, those before it are ``earlier``.

        ``pictures``, seen from ``folder``, is where the pictures' names start from.  The files' own ids repeat: rows
        are numbered.
        """
        path = find_file(folder, file, split, self.suffixes)
        shown = pictures_in(folder or Path(), pictures, urls)

        def example(record: Any, where: str, number: int) -> Example:
            return self.example(f"{self.source}/{split}/{number:06d}", shown, record, where)

        yield from numbered(records(path), example)

    def example(self, name: str, picture: Callable[[str, str], Path | bytes], record: Any, where: str) -> Example:
        """The record's conversation under this id, with the pictures of its names; raises RowError."""
        for key in OTHER:
            if isinstance(record, dict) and record.get(key) not in (None, "", [], "[]"):
                what = f"a row holds {key!r}; only text and pictures can be taught"
                raise RowError("unsupported content", what, where)
        if isinstance(record, dict) and record.get("label") is False:  # as data sets for KTO have it
            raise RowError("unsupported content", "the row's answer is marked as a bad one (label: false)", where)
        return to_example(name, self.read(record, where), picture, where)


def turns_of(sample: Sample, key: str, role: str) -> list[dict[str, Any]]:
    """All turns of a sniffed file whose rows have them as objects with ``role`` under ``key``; none if most do not."""
    lists = [record.get(key) for record in sample.records if isinstance(record, dict)]
    fits = [
        turns for turns in lists if isinstance(turns, list) and turns and all(_is_turn(turn, role) for turn in turns)
    ]
    return [turn for turns in fits for turn in turns] if 2 * len(fits) > len(sample.records) else []


def has(sample: Sample, *keys: str) -> bool:
    """Whether some row of a sniffed file has something under one of the keys."""
    return any(isinstance(record, dict) and record.get(key) for record in sample.records for key in keys)


def _is_turn(turn: Any, role: str) -> bool:
    return isinstance(turn, dict) and role in turn
