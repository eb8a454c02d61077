"""NoCaps (Agrawal et al., ICCV 2019), validation, from its official file: ten captions for each picture.

The folder holds ``nocaps_val_4500_captions.json`` (4,500 pictures of Open Images) beside ``images/``, where a picture
has its ``file_name``.  The category is the picture's ``domain``: in-domain (classes that COCO has), near-domain or
out-domain.  The test split's captions are not public, and there is nothing to train on.  Names and nesting: the form of
COCO's captions (data_prep/caption_files.py); github.com/open-mmlab/mmpretrain at commit ee7f2e8,
mmpretrain/datasets/nocaps.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.caption_files import by_picture
from data_prep.confined import Pictures
from data_prep.example import Example
from data_prep.fields import field
from data_prep.official import Official
from data_prep.rows import Row, RowError
from data_prep.sources import known_split

SPLITS = ("val",)
NO_CAPS = Official("NoCaps", "https://nocaps.org/download")
DOMAINS = ("in-domain", "near-domain", "out-domain")
FILE = "nocaps_val_4500_captions.json"


def check(split: str, folder: Path | None = None) -> None:
    """Raises MendableErrors naming the file and the folder that are missing and where they come from; opens neither."""
    known_split("no_caps", split, SPLITS)
    folder = NO_CAPS.given(folder)
    NO_CAPS.present((folder / name, NO_CAPS.page) for name in (FILE, "images"))


def rows(split: str, folder: Path | None = None) -> Iterator[Row]:
    """A row for each picture with all its captions, in the file's order, and without a question.

    Raises MendableError for a missing or damaged file.
    """
    check(split, folder)
    folder = NO_CAPS.given(folder)
    pictures = Pictures(folder / "images", f"fetch the pictures as {NO_CAPS.page} says")

    def example(number: int, captions: list[str], entry: Any, where: str) -> Example:
        domain = field(entry, "domain", str, where)
        if domain not in DOMAINS:
            raise RowError("wrong type", f"a row's 'domain' is {domain!r:.80}, none of {', '.join(DOMAINS)}", where)
        picture = pictures(field(entry, "file_name", str, where), where)
        return Example(f"no_caps/val/{number}", (picture,), "", captions[0], tuple(captions), domain)

    yield from by_picture(NO_CAPS, folder / FILE, example)
