"""Reads a user's CSV or TSV file row by row; a broken row costs the lines it takes up, and no others."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data_prep.records import Record
from data_prep.rows import RowError
from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import refuse_lfs_pointer

SUFFIXES = (".csv", ".tsv")
CELL = 1 << 17
"""Characters that a cell may have: more is what an unclosed quote has swallowed."""


def csv_columns(path: Path) -> tuple[str, ...]:
    """The names in the file's first line; raises MendableError where it has none, or one twice."""
    with _reader(path) as reader:
        return _header(path, reader)


def csv_records(path: Path, largest: int = CELL) -> Iterator[Record]:
    """(where, cells by column) of each row below the header; a cell may hold line breaks within quotes.

    Separated by commas, semicolons or tabs, whichever the header has most of.  A row that is not closed as it should
    be, of too many or too few cells, or not in UTF-8 is a `RowError` for each line it takes up, so that the lines that
    an unclosed quote swallows are counted; so is one with a cell of more than ``largest`` characters.  Raises as
    `csv_columns` does.
    """
    with _reader(path) as reader:
        header = _header(path, reader)
        while True:
            first, record = reader.line_num + 1, next_row(reader, len(header), largest)
            if record is None:
                return
            if isinstance(record, RowError):
                for line in range(first, reader.line_num + 1):
                    yield f"{path}:{line}", record
            elif record:  # an empty line is no row
                yield f"{path}:{first}", dict(zip(header, record, strict=True))


def next_row(reader: Any, cells: int, largest: int = CELL) -> list[str] | RowError | None:
    """The reader's next row of so many cells, the error it is, or None at the end."""
    first = reader.line_num + 1
    usual = csv.field_size_limit(largest)  # of the whole process: others' readers keep theirs
    try:
        row = next(reader, None)
        what = "" if not row or len(row) == cells else f"{len(row)} cells under {cells} columns"
    except csv.Error as error:
        row, what = [], str(error)
    finally:
        csv.field_size_limit(usual)
    if row and not what and any(_undecoded(cell) for cell in row):
        what = "not in UTF-8"
    if not what:
        return row
    spans = f", in the row of lines {first} to {reader.line_num}" if reader.line_num > first else ""
    return RowError("broken line", f"{what}{spans}")


@contextmanager
def _reader(path: Path) -> Iterator[Any]:
    refuse_lfs_pointer(path)
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        header = file.readline(1 << 20)
        file.seek(0)
        yield csv.reader(file, delimiter=max(",;\t", key=header.count), strict=True)


def _header(path: Path, reader: Any) -> tuple[str, ...]:
    try:
        names = tuple(name.strip() for name in next(reader, ()))
    except csv.Error as error:
        raise MendableError(f"the first line does not name the columns ({error})", f"{path}:1", _FIX) from error
    twice = {name for name in names if names.count(name) > 1}
    if twice or not any(names) or any(_undecoded(name) or "\0" in name for name in names):
        what = f"two columns are called {min(twice)!r}" if twice else "the first line does not name the columns"
        raise MendableError(what, f"{path}:1", _FIX)
    return names


def _undecoded(text: str) -> bool:
    """Whether the text holds what `surrogateescape` makes of a byte that is not UTF-8."""
    return not text.isascii() and any("\udc80" <= sign <= "\udcff" for sign in text)


_FIX = "save it as CSV in UTF-8, with a first line that names each column once"
