"""Captions in the form of COCO's files: a list of pictures, and one of captions that name their picture by its number.

Under ``images`` a picture has ``id`` and ``file_name``, under ``annotations`` a caption ``id``, ``image_id`` and
``caption``: cocodataset.org/#format-data.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from data_prep.example import Example
from data_prep.fields import field
from data_prep.official import Official
from data_prep.rows import Rejected, Row, RowError, each


def by_picture(official: Official, path: Path, example: Callable[[int, list[str], Any, str], Example]) -> Iterator[Row]:
    """A row for each picture, in the file's order: ``example(number, its captions, its entry, where)``.

    A caption that cannot be read is a rejected row too, and so is a picture that captions name and that has no entry.
    """
    captions: dict[int, list[str]] = defaultdict(list)
    for where, annotation in official.rows(path, "annotations", "caption"):
        try:
            number, caption = caption_of(annotation, where)
            captions[number].append(caption)
        except RowError as error:
            yield Rejected(where, error.reason, error.what)

    def of(entry: Any, where: str) -> Example:
        number = field(entry, "id", int, where)
        if number not in captions:
            raise RowError("no annotation", f"picture {number} has no caption", where)
        return example(number, captions.pop(number), entry, where)

    yield from each(official.rows(path, "images", "picture"), of)
    for number, said in captions.items():
        yield Rejected(str(path), "missing picture", f"picture {number} has {len(said)} captions and no entry")


def caption_of(annotation: Any, where: str) -> tuple[int, str]:
    """(the picture's number, the caption)."""
    return field(annotation, "image_id", int, where), field(annotation, "caption", str, where)
