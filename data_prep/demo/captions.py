"""Captions such as "a blue rectangle", derived from Easy-VQA's questions and answers about the train pictures alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random

from data_prep.example import Example

COLOURS = ("black", "blue", "brown", "gray", "green", "red", "teal", "yellow")
SHAPES = ("circle", "rectangle", "triangle")
NEGATIONS = ("not", "no")

PROMPTS = (
    "Describe the image.",
    "What is in the image?",
    "Write a short caption.",
    "What does the image show?",
)
WORDINGS = ("a {colour} {shape}", "A {colour} {shape}.", "The {shape} is {colour}.")


def known_pictures(rows: Iterable[Example]) -> dict[Path, tuple[str, str]]:
    """Picture -> (colour, shape), for the pictures whose questions tell both."""
    facts: dict[Path, set[str]] = defaultdict(set)
    for row in rows:
        (picture,) = row.images
        assert isinstance(picture, Path)  # Easy-VQA's are files
        facts[picture].update(_facts(row.question, row.answer))
    known = {}
    for picture, words in facts.items():
        colours, shapes = words & set(COLOURS), words & set(SHAPES)
        if len(colours) == len(shapes) == 1:
            known[picture] = (colours.pop(), shapes.pop())
    return known


def _facts(question: str, answer: str) -> Iterator[str]:
    """The colours and shapes that an answered question says are there ("is there not a red shape?" "no" says red)."""
    words = question.rstrip("?").split()
    if answer not in ("yes", "no"):
        yield answer
        yield from (word for word in words if word in COLOURS + SHAPES)
    elif (answer == "yes") != any(word in NEGATIONS for word in words):
        yield from (word for word in words if word in COLOURS + SHAPES)


def prompt_and_caption(colour: str, shape: str, random: Random) -> tuple[str, str]:
    """One of a few prompts with one of a few wordings of the caption."""
    return random.choice(PROMPTS), random.choice(WORDINGS).format(colour=colour, shape=shape)
