"""Pictures small enough that a page with all of them stays small: each distinct one once, as large as there is room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from eval_harness.controls import picture_key

if TYPE_CHECKING:
    from data_prep.example import Picture

LARGE = (384, False)
SIZES = (LARGE, (256, True), (192, True), (128, True), (96, True), (64, True))
"""(longest side in pixels, whether as WebP of low quality), the best first."""
SMALL = 192  # pixels; larger ones may take half of the room: a page that loads soon is worth more
TINY_SIDE = 128  # pixels; smaller pictures are enlarged without blur
_TRIED = 40  # pictures that tell how large all will be


@dataclass(frozen=True)
class Thumbnails:
    """The pictures that a page holds."""

    uris: list[str] = field(default_factory=list)
    tiny: list[bool] = field(default_factory=list)
    """Of each whether the picture itself is no larger than `TINY_SIDE`."""
    places: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    """(task, id) → numbers in ``uris``."""
    side: int | None = None
    """Pixels that no side exceeds; None where there are none."""
    left_out: int = 0
    """Distinct pictures for which there was no room."""


def thumbnails(pictures: Mapping[tuple[str, str], Sequence[Picture]], room: int) -> Thumbnails:
    """Thumbnails of each sample's pictures, by (task, id), of at most ``room`` characters in all.

    The size is the first of `SIZES` that a seeded few of the distinct pictures say will fit; where even the smallest
    does not, the last ones are left out.  Raises RowError where a picture cannot be read.
    """
    keys = {name: [picture_key(picture) for picture in several] for name, several in pictures.items()}
    distinct = {key: one for name, several in pictures.items() for key, one in zip(keys[name], several, strict=True)}
    if not distinct:
        return Thumbnails()
    size = _size(distinct, room)
    numbers: dict[str, int] = {}
    uris: list[str] = []
    tiny: list[bool] = []
    for key, picture in distinct.items():
        uri, is_tiny = _thumbnail(picture, size)
        room -= len(uri) + len('"",')
        if room < 0:
            break
        numbers[key] = len(uris)
        uris.append(uri)
        tiny.append(is_tiny)
    places = {name: [numbers[key] for key in several if key in numbers] for name, several in keys.items()}
    return Thumbnails(uris, tiny, places, size[0], len(distinct) - len(uris))


def _size(distinct: Mapping[str, Picture], room: int) -> tuple[int, bool]:
    keys = Random(0).sample(sorted(distinct), min(_TRIED, len(distinct)))
    margin = 1.0 if len(keys) == len(distinct) else 1.1
    for size in SIZES[:-1]:
        mean = sum(len(_thumbnail(distinct[key], size)[0]) + 3 for key in keys) / len(keys)
        if margin * mean * len(distinct) <= (room if size[0] <= SMALL else room / 2):
            return size
    return SIZES[-1]


def _thumbnail(picture: Picture, size: tuple[int, bool]) -> tuple[str, bool]:
    from data_prep.html import picture_uri
    from data_prep.images import open_image

    image = open_image(picture)
    return picture_uri(image, size[0], small_file=size[1]), max(image.size) <= TINY_SIDE
