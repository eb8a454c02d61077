"""COCO Captions (Chen et al., arXiv 1504.00325) from its official files: five or more captions a photograph.

The folder holds the unpacked archives: ``annotations/captions_train2014.json``, ``annotations/captions_val2014.json``,
``train2014/`` and ``val2014/``.  ``val`` is the official split of 40,504 pictures, not the 5,000 that papers test on
(Karpathy's): scores on it are not theirs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from data_prep.example import Example
from data_prep.official import Official, Pictures
from data_prep.sources import known_split
from mlplora_vlm.errors import MendableError

SPLITS = ("train", "val")
COCO = Official("COCO Captions", "https://cocodataset.org/#download")
ANNOTATIONS = "http://images.cocodataset.org/annotations/annotations_trainval2014.zip"
PICTURES_SITE = "http://images.cocodataset.org/zips/"


def check(split: str, folder: Path | None = None) -> None:
    """Raises MendableErrors naming the file and the folder that are missing and where they come from; opens neither."""
    known_split("coco_captions", split, SPLITS)
    folder = COCO.given(folder)
    COCO.present(
        [(_captions(split, folder), ANNOTATIONS), (folder / f"{split}2014", f"{PICTURES_SITE}{split}2014.zip")]
    )


def rows(split: str, folder: Path | None = None) -> Iterator[Example]:
    """train: a row for each caption; val: a row for each picture, with all its captions as references; as in the file.

    No row has a question: the prompt says it all.  Raises MendableError for a missing or damaged file, a caption
    without its picture's entry, a val picture without caption, or a missing picture.
    """
    check(split, folder)
    folder = COCO.given(folder)
    path = _captions(split, folder)
    pictures = Pictures(folder / f"{split}2014", f"unpack {PICTURES_SITE}{split}2014.zip into {folder}")
    names, captions = {}, defaultdict(list)
    for number, row in enumerate(COCO.rows(path, "images")):
        where = f"{path}, picture {number}"
        names[COCO.field(row, "id", int, where)] = COCO.field(row, "file_name", str, where)
    for number, row in enumerate(COCO.rows(path, "annotations")):
        where = f"{path}, caption {number}"
        image_id, caption = COCO.field(row, "image_id", int, where), COCO.field(row, "caption", str, where)
        if image_id not in names:
            raise MendableError(f"picture {image_id} has no entry", where, f"take the file again from {COCO.page}")
        if split == "train":
            name = f"{split}/{COCO.field(row, 'id', int, where)}"
            yield _row(name, pictures(names[image_id], where), [caption])
        captions[image_id].append(caption)
    if split == "val":
        for image_id, file_name in names.items():
            where = f"{path}, picture {image_id}"
            if image_id not in captions:
                raise MendableError("a picture has no caption", where, f"take the file again from {COCO.page}")
            yield _row(f"{split}/{image_id}", pictures(file_name, where), captions[image_id])


def _row(name: str, picture: Path, captions: list[str]) -> Example:
    return Example(f"coco_captions/{name}", (picture,), "", captions[0], tuple(captions), "caption")


def _captions(split: str, folder: Path) -> Path:
    return folder / "annotations" / f"captions_{split}2014.json"
