"""A table of one's own: CSV, TSV, JSON lines or a JSON list, one question and its answer a row.

The key ``columns`` says which of their columns is our image, question, answer, references, category, id or system;
those of our names, and of some other common ones (`data_prep.columns.ALIASES`), need not be named.  ``image`` is a
path, a list of them (in CSV as JSON), or empty: a row of text alone.  Without a question the prompt has to say it all.
CSV: data_prep/csv_records.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep import csv_records
from data_prep.columns import Columns, described, mapping, numbered, pictures_in
from data_prep.csv_records import csv_columns
from data_prep.records import Record, find_file, records
from data_prep.rows import Row

if TYPE_CHECKING:
    from data_prep.sniff import Sample

SPLITS: tuple[str, ...] = ()
SUFFIXES = (*csv_records.SUFFIXES, ".jsonl", ".json")
FIRST = 100  # rows of a JSON file that are asked for their columns: any row may leave one out


def check(
    split: str,
    folder: Path | None = None,
    file: str | None = None,
    pictures: Path | None = None,
    columns: Mapping[str, str] | None = None,
    urls: bool = False,
) -> None:
    """Raises MendableError unless the folder has one table for the split, with columns for what is to be learnt."""
    path = find_file(folder, file, split, SUFFIXES)
    if folder:
        pictures_in(folder, pictures)
    table_mapping(path, columns)


def rows(
    split: str,
    folder: Path | None = None,
    file: str | None = None,
    pictures: Path | None = None,
    columns: Mapping[str, str] | None = None,
    urls: bool = False,
) -> Iterator[Row]:
    """The table's rows in its order; ``pictures``, seen from ``folder``, is where the pictures' names start from."""
    check(split, folder, file, pictures, columns)
    path = find_file(folder, file, split, SUFFIXES)
    example = Columns(f"table/{split}", table_mapping(path, columns), pictures_in(folder or Path(), pictures, urls))
    yield from numbered(table_records(path), example)


def recognise(sample: Sample) -> str | None:
    """Why the file looks like a table of questions or captions, or None."""
    if sample.suffix not in SUFFIXES or not sample.records:
        return None
    columns = described(_names(sample.records))
    return f"a table with {columns}" if columns else None


def table_records(path: Path) -> Iterator[Record]:
    """(where, cells by column) of each of the table's rows."""
    return csv_records.csv_records(path) if path.suffix.lower() in csv_records.SUFFIXES else records(path)


def table_mapping(path: Path, columns: Mapping[str, str] | None) -> dict[str, str]:
    """Our name → the table's column; raises MendableErrors as `mapping` does."""
    if path.suffix.lower() in csv_records.SUFFIXES:
        return mapping(columns, csv_columns(path), f"{path}:1")
    first = [record for _, record in islice(records(path), FIRST)]
    return mapping(columns, _names(first), f"{path}, its first {FIRST} rows")


def _names(first: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(name for record in first if isinstance(record, dict) for name in record))
