"""Parquet files, such as a set of the hub is stored in: questions and answers, captions, or conversations.

A split is ``SPLIT.parquet``, or the shards ``SPLIT-00000-of-00002.parquet`` …, in the folder or its folder ``data``, or
all parquet files in the folder SPLIT; where no file and no folder has a split's name, all files are train.  Pictures
are the ``{bytes, path}`` of `datasets` or the names of files, one or a list; the other columns are those of a table
(data_prep/columns.py) or of a conversation (data_prep/arrow_rows.py).
Layout: github.com/huggingface/datasets at commit 0aa2a58, docs/source/repository_structure.mdx.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.arrow_records import parquet_columns, parquet_records
from data_prep.arrow_rows import arrow_rows, check_columns, has_conversations
from data_prep.columns import described, pictures_in
from data_prep.records import find_file
from data_prep.rows import Row
from data_prep.splits import SHARD, split_of
from mlplora_vlm.errors import MendableError, did_you_mean

if TYPE_CHECKING:
    from data_prep.sniff import Sample

SPLITS: tuple[str, ...] = ()


def check(
    split: str,
    folder: Path | None = None,
    file: str | None = None,
    pictures: Path | None = None,
    columns: Mapping[str, str] | None = None,
    urls: bool = False,
) -> None:
    """Raises MendableError unless all shards are there and whole, all with the same columns, those that are needed."""
    shards = _shards(split, folder, file)
    present = [parquet_columns(path) for path in shards]
    for path, names in zip(shards, present, strict=True):
        if names != present[0]:
            what = f"other columns ({', '.join(names)}) than {shards[0].name} ({', '.join(present[0])})"
            raise MendableError(what, str(path), "name one of the files with data.file")
    check_columns(columns, present[0], str(shards[0]))
    pictures_in(folder or Path(), pictures)


def rows(
    split: str,
    folder: Path | None = None,
    file: str | None = None,
    pictures: Path | None = None,
    columns: Mapping[str, str] | None = None,
    urls: bool = False,
) -> Iterator[Row]:
    """The shards' rows in their order; ``pictures``, seen from ``folder``, is where the pictures' names start from.

    About a row group is in memory.  Raises MendableError at the place where a shard is damaged.
    """
    check(split, folder, file, pictures, columns)
    shards = _shards(split, folder, file)
    records = (record for path in shards for record in parquet_records(path))
    shown = pictures_in(folder or Path(), pictures, urls)
    yield from arrow_rows(f"parquet/{split}", records, columns, shown, str(shards[0]))


def recognise(sample: Sample) -> str | None:
    """Why the file can be read, or None."""
    if sample.suffix != ".parquet" or not sample.records:
        return None
    names = list(sample.records[0])
    columns = "conversations" if has_conversations(names) else described(names)
    return f"a parquet file with {columns}" if columns else None


def _shards(split: str, folder: Path | None, file: str | None) -> list[Path]:
    if folder is None or file is not None:
        return [find_file(folder, file, split, (".parquet",))]
    others: list[Path] = []
    for place in (folder / split, folder / "data" / split, folder, folder / "data"):
        files = sorted(place.glob("*.parquet"))
        own = place.name == split and place != folder
        if found := [path for path in files if own or split in (path.stem, split_of(path))]:
            return _whole(found, split)
        others += files
    splits = sorted(set(filter(None, map(split_of, others))))
    if others and not splits and split == "train":
        return others
    what = f"no parquet file is of the split {split!r}{did_you_mean(split, splits)}"
    fix = f"there are {', '.join(splits)}" if splits else f"call it {split}.parquet, or name it with data.file"
    raise MendableError(what, str(folder), fix)


def _whole(files: list[Path], split: str) -> list[Path]:
    """The files; raises MendableError where one of the shards that their names count is missing, or there twice."""
    shards = [shard for path in files if (shard := SHARD.fullmatch(path.stem))]
    count = max((int(shard[3]) for shard in shards), default=0)
    if shards and sorted(int(shard[2]) for shard in shards) != list(range(count)):
        what = f"the split {split!r} is of {count} shards, of which {', '.join(shard[2] for shard in shards)} are there"
        raise MendableError(what, str(files[0].parent), "have each once")
    if shards and len(shards) != len(files):
        raise MendableError(
            f"the split {split!r} is there whole and as shards", str(files[0].parent), "keep one of both"
        )
    return files
