"""COCO Captions (Chen et al., arXiv 1504.00325) from its official files or Karpathy's: five or more for a photograph.

The folder holds the unpacked archives: ``train2014/`` and ``val2014/``; for the splits ``train`` and ``val``
``annotations/captions_train2014.json`` (82,783 pictures) and ``annotations/captions_val2014.json`` (40,504); for the
splits that papers report on ``dataset_coco.json`` (see data_prep/karpathy.py): ``karpathy_train`` (113,287 pictures,
30,504 of them of val2014), ``karpathy_val`` and ``karpathy_test`` (5,000 each, of val2014).  Scores on ``val`` are not
those of papers.  Names and nesting: cocodataset.org/#format-data; the counts:
tensorflow.org/datasets/catalog/coco_captions.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.caption_files import by_picture, caption_of
from data_prep.confined import Pictures
from data_prep.example import Example
from data_prep.fields import field
from data_prep.karpathy import ARCHIVE, karpathy_rows
from data_prep.official import Official
from data_prep.rows import Row, RowError, each
from data_prep.sources import known_split

KARPATHY = {"karpathy_train": ("train", "restval"), "karpathy_val": ("val",), "karpathy_test": ("test",)}
SPLITS = ("train", "val", *KARPATHY)
COCO = Official("COCO Captions", "https://cocodataset.org/#download")
ANNOTATIONS = "http://images.cocodataset.org/annotations/annotations_trainval2014.zip"
PICTURES_SITE = "http://images.cocodataset.org/zips/"


def check(split: str, folder: Path | None = None) -> None:
    """Raises MendableErrors naming each file or folder that is missing and where it comes from; opens none of them."""
    known_split("coco_captions", split, SPLITS)
    folder = COCO.given(folder)
    captions = (_captions(split, folder), ARCHIVE if split in KARPATHY else ANNOTATIONS)
    COCO.present([captions, *((folder / name, f"{PICTURES_SITE}{name}.zip") for name in _folders(split))])


def rows(split: str, folder: Path | None = None) -> Iterator[Row]:
    """To train on: a row for each caption; else a row for each picture, with all its captions; in the file's order.

    No row has a question: the prompt says it all.  For ``val``, a caption that cannot be read is a rejected row too,
    and so is a picture that captions name and that has no entry.  Raises MendableError for a missing or damaged file.
    """
    check(split, folder)
    folder = COCO.given(folder)
    pictures = {
        name: Pictures(folder / name, f"unpack {PICTURES_SITE}{name}.zip into {folder}") for name in _folders(split)
    }
    if split in KARPATHY:
        found = _karpathy(split, _captions(split, folder), pictures)
    else:
        read = _by_caption if split == "train" else _by_picture
        found = read(split, _captions(split, folder), pictures[f"{split}2014"])
    yield from found


def _karpathy(split: str, path: Path, pictures: dict[str, Pictures]) -> Iterator[Row]:
    def picture(entry: Any, where: str) -> Path:
        name = field(entry, "filepath", str, where)
        if name not in pictures:
            raise RowError("missing picture", f"a row's 'filepath' is {name!r:.80}, not {' or '.join(pictures)}", where)
        return pictures[name](field(entry, "filename", str, where), where)

    images = COCO.rows(path, "images", "picture")
    return karpathy_rows(f"coco_captions/{split}", images, KARPATHY[split], "cocoid", picture)


def _by_caption(split: str, path: Path, pictures: Pictures) -> Iterator[Row]:
    entries = {
        entry["id"]: entry
        for _, entry in COCO.rows(path, "images")
        if isinstance(entry, dict) and type(entry.get("id")) is int  # the captions of any other then have no picture
    }

    def example(annotation: Any, where: str) -> Example:
        image_id, caption = caption_of(annotation, where)
        if image_id not in entries:
            raise RowError("missing picture", f"picture {image_id} has no entry", where)
        picture = pictures(field(entries[image_id], "file_name", str, where), where)
        return _row(split, field(annotation, "id", int, where), picture, [caption])

    return each(COCO.rows(path, "annotations", "caption"), example)


def _by_picture(split: str, path: Path, pictures: Pictures) -> Iterator[Row]:
    def example(number: int, captions: list[str], entry: Any, where: str) -> Example:
        return _row(split, number, pictures(field(entry, "file_name", str, where), where), captions)

    return by_picture(COCO, path, example)


def _row(split: str, name: int, picture: Path, captions: list[str]) -> Example:
    return Example(f"coco_captions/{split}/{name}", (picture,), "", captions[0], tuple(captions), "caption")


def _folders(split: str) -> tuple[str, ...]:
    """The folders with the split's pictures."""
    return {"train": ("train2014",), "karpathy_train": ("train2014", "val2014")}.get(split, ("val2014",))


def _captions(split: str, folder: Path) -> Path:
    return folder / ("dataset_coco.json" if split in KARPATHY else f"annotations/captions_{split}2014.json")
