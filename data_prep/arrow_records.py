"""Reads Arrow tables record by record, pictures undecoded: parquet files, and sets that `datasets` opens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.records import Record
from data_prep.rows import RowError
from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import refuse_lfs_pointer

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 16  # rows that become Python objects at once: their pictures are in memory twice


def arrow_records(
    tables: Iterable[pa.Table | pa.RecordBatch], features: Mapping[str, Any] | None, where: str
) -> Iterator[Record]:
    """(where, record) of each row; a picture is ``{bytes, path}``, a class label its name.

    A row whose text is not in UTF-8 is a `RowError`.
    """
    from datasets import ClassLabel

    labels = {name: kind.names for name, kind in (features or {}).items() if isinstance(kind, ClassLabel)}
    number = 0
    for table in tables:
        for record in _rows(table):
            if isinstance(record, dict):
                record |= {name: _label(record.get(name), names) for name, names in labels.items()}
            yield f"{where}, row {number}", record
            number += 1


def parquet_columns(path: Path) -> tuple[str, ...]:
    """The file's columns; raises MendableError where it is no parquet file, or not whole."""
    from pyarrow.parquet import read_schema

    refuse_lfs_pointer(path)
    with _readable(path):
        return tuple(read_schema(path).names)


def parquet_records(path: Path) -> Iterator[Record]:
    """`arrow_records` of the file, with about a row group in memory; raises MendableError where it is damaged.

    Not streamed by `datasets`, which lets pyarrow keep all that it has read of a file until its end.
    """
    from datasets import Features
    from pyarrow.parquet import read_schema

    parquet_columns(path)
    with _readable(path):
        features = Features.from_arrow_schema(read_schema(path))
    yield from arrow_records(_batches(path), features, str(path))


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    from pyarrow.parquet import ParquetFile

    with _readable(path), ParquetFile(path, pre_buffer=False) as file:
        yield from file.iter_batches(BATCH)


def _rows(table: pa.Table | pa.RecordBatch) -> Iterator[Any]:
    """The table's rows; those that Python cannot hold as errors."""
    try:
        yield from table.to_pylist()
    except Exception:  # dates out of range, text that is not UTF-8, and whatever else pyarrow objects to
        for number in range(table.num_rows):
            try:
                yield table.slice(number, 1).to_pylist()[0]
            except Exception as error:
                kind: Any = "invalid text" if isinstance(error, UnicodeDecodeError) else "wrong type"
                yield RowError(kind, f"the row cannot be read: {error!s:.100}")


def _label(label: Any, names: list[str]) -> str | None:
    return names[label] if isinstance(label, int) and 0 <= label < len(names) else None  # -1: not labelled


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what pyarrow and `datasets` raise for a broken file, of any class, into a MendableError."""
    try:
        yield
    except Exception as error:
        what = f"the parquet file cannot be read ({type(error).__name__}: {error!s:.200})"
        raise MendableError(what, str(path), "take it again from its origin") from error
