"""What a model that does not look could score: blank pictures, other rows' pictures, the training answers alone."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

from data_prep.example import Example, Picture
from data_prep.images import Resized, picture_size
from data_prep.rows import Rejected, Row
from mlplora_vlm.errors import MendableError


def blank(examples: Sequence[Example]) -> list[Example]:
    """The examples with mid-grey pictures of the same sizes."""
    from PIL import Image

    grey: dict[tuple[int, int], Image.Image] = {}

    def of(picture: Picture) -> Image.Image:
        size = picture_size(picture)
        return grey.setdefault(size, Image.new("RGB", size, (128, 128, 128)))

    return [replace(example, images=tuple(map(of, example.images))) for example in examples]


def shuffled(examples: Sequence[Example], seed: int) -> list[Example]:
    """The examples with every distinct picture exchanged for another one: a seeded derangement, so no picture stays.

    Raises MendableError where the examples share one picture.
    """
    pictures = {picture_key(picture): picture for example in examples for picture in example.images}
    keys = sorted(pictures)
    Random(f"shuffled {seed}").shuffle(keys)
    if len(keys) < 2:
        raise MendableError(
            "pictures cannot be shuffled: the sample holds fewer than two",
            "eval.controls",
            "raise eval.limit",
        )
    # One round through all pictures: each gets the next one's place
    other = {key: pictures[after] for key, after in zip(keys, keys[1:] + keys[:1], strict=True)}
    return [
        replace(example, images=tuple(other[picture_key(picture)] for picture in example.images))
        for example in examples
    ]


def prior(examples: Sequence[Example], training: Iterable[Row]) -> list[str]:
    """The most frequent training answer of each example's question; of all questions, where training never asks it.

    Of equally frequent answers the one that came first; a rejected row taught nothing, and does not count.  Raises
    MendableError where there are no training rows.
    """
    overall: Counter[str] = Counter()
    by_question: dict[str, Counter[str]] = defaultdict(Counter)
    for row in training:
        if isinstance(row, Rejected):
            continue
        overall[row.answer.strip()] += 1
        by_question[row.question.strip()][row.answer.strip()] += 1
    if not overall:
        raise MendableError("there are no training answers to count", "the task's prior_split", "check the task's data")
    usual = overall.most_common(1)[0][0]
    return [
        by_question[question].most_common(1)[0][0] if (question := example.question.strip()) in by_question else usual
        for example in examples
    ]


def picture_key(picture: Picture) -> str:
    """What tells a picture from others: its path, or the hash of its file or its pixels."""
    if isinstance(picture, Path):
        return str(picture)
    if isinstance(picture, bytes):
        return hashlib.sha256(picture).hexdigest()
    if isinstance(picture, Resized):
        return f"{picture_key(picture.source)} {picture.size}"
    return hashlib.sha256(f"{picture.mode} {picture.size} ".encode() + picture.tobytes()).hexdigest()


class PictureKeys:
    """`picture_key`, worked out once for each picture object."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Picture, str]] = {}  # with the picture: else another could get its number

    def __call__(self, picture: Picture) -> str:
        if isinstance(picture, Path):
            return str(picture)
        if id(picture) not in self._known:
            self._known[id(picture)] = picture, picture_key(picture)
        return self._known[id(picture)][1]
