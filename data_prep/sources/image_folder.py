"""A folder of pictures with captions: a ``metadata.jsonl`` or ``metadata.csv``, or a ``.txt`` beside each picture.

The pictures of a split are in the folder of its name, or, where there is no folder of any split's name, all are train.
A metadata file names each picture by its path from where the file is, under ``file_name``, and may be in any folder of
the pictures; its other columns are those of a table (``text`` is the caption; see data_prep/columns.py).  A picture
that no metadata file names has its caption in the ``.txt`` of its own name.  A picture without a caption is rejected,
and so is a caption without a picture (a ``.txt`` among pictures, in a folder without a metadata file); names that begin
with a dot, and all other files, are left alone.
Formats: github.com/huggingface/datasets at commit 0157a38, docs/source/image_dataset.mdx (ImageFolder), and
github.com/kohya-ss/sd-scripts at commit 063ef10, docs/config_README-en.md (``caption_extension``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.columns import Columns, described, numbered
from data_prep.confined import Pictures
from data_prep.example import Example
from data_prep.records import Record
from data_prep.references import References
from data_prep.rows import Row, RowError
from data_prep.sources.table import table_mapping, table_records
from data_prep.splits import SPLIT_NAMES
from mlplora_vlm.errors import MendableError, did_you_mean

if TYPE_CHECKING:
    from data_prep.sniff import Sample

SPLITS: tuple[str, ...] = ()
METADATA = ("metadata.jsonl", "metadata.csv")
PICTURES = (".avif", ".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Endings of what counts as a picture."""
SEEN = 500  # entries of a folder that are looked at to recognise it


def check(split: str, folder: Path | None = None, columns: Mapping[str, str] | None = None) -> None:
    """Raises MendableError unless the split has a folder, whose own metadata file, if any, has the columns."""
    root = _root(split, folder)
    if path := _metadata(root):
        table_mapping(path, columns)


def rows(split: str, folder: Path | None = None, columns: Mapping[str, str] | None = None) -> Iterator[Row]:
    """Folder by folder, by name: its metadata file's rows, then the pictures that no metadata file names.

    Raises MendableError for a metadata file that cannot be read, or lacks the columns.
    """
    check(split, folder, columns)
    found = _Folder(_root(split, folder), f"image_folder/{split}", columns)
    yield from numbered(found.records(), found.example)


def recognise(sample: Sample) -> str | None:
    """Why the folder looks like pictures with captions, or None."""
    if sample.path.is_file():
        first = sample.records[0] if sample.path.name in METADATA and sample.records else None
        columns = described(list(first)) if isinstance(first, dict) else None
        return f"a metadata file of pictures with {columns}" if columns else None
    names = {path.name for path in _some_files(sample.path)}
    pictures = [name for name in names if Path(name).suffix.lower() in PICTURES]
    if not pictures:
        return None
    if names & set(METADATA):
        return "pictures and a metadata file"
    if any(f"{Path(name).stem}.txt" in names for name in pictures):
        return "pictures with a .txt beside them"
    return None


class _Folder:
    """Reads one folder of pictures; a record is a metadata file's row and how to read it, or a picture."""

    def __init__(self, root: Path, name: str, columns: Mapping[str, str] | None) -> None:
        self._name, self._given = name, columns
        self._root, self._inside = root, Pictures(root)

    def records(self) -> Iterator[Record]:
        named: set[str] = set()
        for folder, folders, names in os.walk(self._root):
            here = Path(folder)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for link in [here / name for name in folders if (here / name).is_symlink()]:
                yield str(link), RowError("picture outside its folder", "a link to a folder is not followed")
            if path := _metadata(here):
                columns = Columns(self._name, table_mapping(path, self._given), References(here))
                for where, record in table_records(path):
                    named |= {os.path.normpath(here / name) for name in columns.names(record)}
                    yield where, record if isinstance(record, RowError) else (columns, record)
            names = sorted(name for name in names if not name.startswith("."))
            pictures = [name for name in names if Path(name).suffix.lower() in PICTURES]
            for name in pictures:
                if str(here / name) not in named:
                    yield str(here / name), (None, here / name)
            if pictures and not path:
                beside = {Path(name).stem for name in pictures}
                for name in names:
                    if name.endswith(".txt") and name.removesuffix(".txt") not in beside:
                        yield str(here / name), RowError("missing picture", "a caption without a picture beside it")

    def example(self, found: tuple[Columns | None, Any], where: str, number: int) -> Example:
        columns, record = found
        if columns:
            return columns(record, where, number)
        picture, caption = self._confined(record, where), self._caption(record.with_suffix(".txt"), where)
        return Example(f"{self._name}/{number:06d}", (picture,), "", caption, (caption,), "picture")

    def _confined(self, path: Path, where: str) -> Path:
        return self._inside(str(path.relative_to(self._root)), where)

    def _caption(self, path: Path, where: str) -> str:
        if not path.exists():
            raise RowError("no annotation", f"neither a metadata file nor {path.name} has a caption for it", where)
        try:
            caption = self._confined(path, where).read_text(encoding="utf-8-sig").strip()
        except ValueError as error:
            raise RowError("invalid text", f"{path.name} is not in UTF-8", where) from error
        if not caption:
            raise RowError("empty answer", f"{path.name} is empty", where)
        return caption


def _root(split: str, folder: Path | None) -> Path:
    """The folder with the split's pictures."""
    if folder is None or not folder.is_dir():
        what = "the source needs a folder" if folder is None else "there is no such folder"
        raise MendableError(what, str(folder or "data.folder or eval.folder"), "name the one with your pictures")
    if (folder / split).is_dir():
        return folder / split
    splits = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name.lower() in SPLIT_NAMES)
    if splits or split != "train":
        what = f"the folder has no folder of pictures for the split {split!r}{did_you_mean(split, splits)}"
        raise MendableError(what, str(folder), f"it has {', '.join(splits)}" if splits else "all of it is train")
    return folder


def _metadata(folder: Path) -> Path | None:
    found = [folder / name for name in METADATA if (folder / name).is_file()]
    if len(found) > 1:
        raise MendableError(f"two metadata files: {' and '.join(METADATA)}", str(folder), "leave one of them")
    return found[0] if found else None


def _some_files(folder: Path) -> Iterator[Path]:
    """The first files in the folder and in its folders."""
    for path in islice(folder.iterdir(), SEEN):
        if path.is_dir():
            yield from islice(path.iterdir(), SEEN)
        else:
            yield path
