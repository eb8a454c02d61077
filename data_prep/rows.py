"""Every row of a source is an example or a rejection: nothing disappears unreported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from data_prep.example import Example
from mlplora_vlm.errors import MendableError

Reason = Literal[
    "broken line",
    "missing field",
    "wrong type",
    "missing picture",
    "picture outside its folder",
    "picture by URL",
    "unreadable picture",
    "too many pixels",
    "picture size",
    "picture markers",
    "unsupported content",
    "roles out of order",
    "no annotation",
    "empty question",
    "empty answer",
    "nothing learned",
    "control tokens",
    "invalid text",
    "prompt",
    "template",
    "processor",
    "model",
    "too long",
]
REASONS: tuple[str, ...] = get_args(Reason)
"""What rejections are counted by; the detail says the rest."""


class RowError(MendableError):
    """A row that cannot be used; the set's others can."""

    def __init__(
        self, reason: Reason, what: str = "", where: str = "", fix: str = "mend the row, or take it out of the data"
    ) -> None:
        """``what`` may be left out: torch makes a data worker's error anew from its text alone."""
        self.reason: Reason = reason
        super().__init__(what or reason, where, fix)


@dataclass(frozen=True)
class Rejected:
    """A row that is left out: where it stands, why in a word that is counted, and why in full."""

    where: str
    reason: Reason
    detail: str

    def error(self) -> RowError:
        """The rejection as an error, for those who can do without no row."""
        return RowError(self.reason, self.detail, self.where)


Row = Example | Rejected


def each(records: Iterable[tuple[str, Any]], example: Callable[[Any, str], Example]) -> Iterator[Row]:
    """``example(record, where)`` of each (where, record), or the rejection where it raises `RowError`.

    A record that is itself a `RowError` (a broken line) is a rejection too.
    """
    for where, record in records:
        row: Row
        try:
            if isinstance(record, RowError):
                raise record
            row = replace(example(record, where), where=where)
        except RowError as error:
            row = Rejected(where, error.reason, error.what)
        except RecursionError:  # Python itself cannot even show such a value
            row = Rejected(where, "wrong type", "a row's lists and objects are nested too deeply")
        yield row


def strict(rows: Iterable[Row]) -> Iterator[Example]:
    """The examples; raises `RowError` at the first rejection: an evaluation asks everything or nothing."""
    for row in rows:
        if isinstance(row, Rejected):
            raise row.error()
        yield row
