"""Synthetic: one coloured shape a picture, drawn here from a fixed seed, with questions worded like Easy-VQA's.

For tests and the smoke presets, which must need no package and no download.  A score on it says that the chain works,
not how good a model is.  ``sixteen`` is for learning by heart: four questions about each of four pictures, where each
question has two answers, equally often: whoever does not look knows half of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from data_prep.example import Example
from data_prep.sources import known_split

if TYPE_CHECKING:
    from PIL.Image import Image

ROWS = {"train": 256, "test": 64}
SPLITS = (*ROWS, "sixteen")
SIDE = 64  # pixels
COLOURS = {  # name -> RGB
    "black": (0, 0, 0),
    "blue": (0, 0, 255),
    "green": (0, 200, 0),
    "red": (255, 0, 0),
    "yellow": (255, 225, 0),
}
SHAPES = ("circle", "rectangle", "triangle")
SIXTEEN = (("red", "circle"), ("red", "triangle"), ("blue", "circle"), ("blue", "triangle"))


def check(split: str, folder: Path | None = None) -> None:
    """Raises MendableError where the split is unknown; ``folder`` is not used."""
    known_split("shapes", split, SPLITS)


def rows(split: str, folder: Path | None = None) -> Iterator[Example]:
    """256 train, 64 test and 16 more rows, the same at every call; half are yes/no questions, half of those true."""
    check(split)
    random = Random(f"shapes/{split}")
    drawn = _sixteen(random) if split == "sixteen" else _drawn(ROWS[split], random)
    for number, (picture, question, answer) in enumerate(drawn):
        yield Example(
            id=f"shapes/{split}/{number:06d}",
            images=(picture,),
            question=question,
            answer=answer,
            references=(answer,),
            category="yes/no" if answer in ("yes", "no") else "open",
        )


def _drawn(count: int, random: Random) -> Iterator[tuple[Image, str, str]]:
    """(picture, question, answer) of a picture each; every other one is a yes/no question."""
    for number in range(count):
        colour, shape = random.choice(tuple(COLOURS)), random.choice(SHAPES)
        if number % 2:
            question, answer = _open(colour, shape, random)
        else:
            question, answer = _yes_or_no(colour, shape, number % 4 == 0, random)
        yield _draw(colour, shape, random), question, answer


def _sixteen(random: Random) -> Iterator[tuple[Image, str, str]]:
    """(picture, question, answer), four of each picture."""
    for colour, shape in SIXTEEN:
        picture = _draw(colour, shape, random)
        yield picture, "what color is the shape?", colour
        yield picture, "what shape is in the image?", shape
        yield picture, "is there a red shape?", "yes" if colour == "red" else "no"
        yield picture, "is there a circle?", "yes" if shape == "circle" else "no"


def _open(colour: str, shape: str, random: Random) -> tuple[str, str]:
    asked = [("what color is the shape?", colour), ("what shape is in the image?", shape)]
    asked += [(f"what color is the {shape}?", colour), (f"what is the {colour} shape?", shape)]
    return random.choice(asked)


def _yes_or_no(colour: str, shape: str, true: bool, random: Random) -> tuple[str, str]:
    others = [name for name in COLOURS if name != colour], [name for name in SHAPES if name != shape]
    if random.random() < 0.5:
        return f"is there a {colour if true else random.choice(others[0])} shape?", "yes" if true else "no"
    return f"is there a {shape if true else random.choice(others[1])}?", "yes" if true else "no"


def _draw(colour: str, shape: str, random: Random) -> Image:
    """An RGB picture of 64 x 64 pixels: the shape somewhere on a pale ground."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (SIDE, SIDE), tuple(random.randint(225, 255) for _ in range(3)))
    width, height = random.randint(16, 36), random.randint(16, 36)
    if shape == "circle":
        height = width
    left, top = random.randint(2, SIDE - width - 2), random.randint(2, SIDE - height - 2)
    box, pen = (left, top, left + width, top + height), ImageDraw.Draw(picture)
    if shape == "circle":
        pen.ellipse(box, fill=COLOURS[colour])
    elif shape == "rectangle":
        pen.rectangle(box, fill=COLOURS[colour])
    else:
        corners = [(left, top + height), (left + width, top + height), (left + width // 2, top)]
        pen.polygon(corners, fill=COLOURS[colour])
    return picture
