"""Sources of conversations in a user's JSON file: which file and which pictures, and its rows in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.columns import numbered, pictures_in
from data_prep.example import Example
from data_prep.records import find_file, records
from data_prep.rows import Row
from data_prep.training_keys import CONVERSATION_KEYS, check_row, is_label
from data_prep.turns import ROLES, Conversation, to_example

if TYPE_CHECKING:
    from data_prep.sniff import Sample


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
        check_row(record, where, CONVERSATION_KEYS)
        row = self.read(record, where)
        answers = [ROLES.get(role) == "assistant" for role, _ in row.said]
        labels = [is_label(turn, answer, where) for turn, answer in zip(row.entries, answers, strict=True)]
        context = {*row.context, *(number for number, label in enumerate(labels) if not label)}
        return to_example(name, replace(row, context=context), picture, where)


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
