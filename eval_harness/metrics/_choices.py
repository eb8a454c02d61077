"""Questions with lettered options: which options a question lists, and whether a model prefers some letters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_uppercase

from eval_harness.figures import Figure, ratio

_OPTION = re.compile(r"^([A-Z])\. ?(.*)$", re.MULTILINE)


def options(question: str) -> dict[str, str]:
    """The options by letter, which a question lists as lines "A. text" in alphabetical order; {} where it lists none.

    Of several such lists the last one counts: a hint before the question may hold lines of that form too.
    """
    found: dict[str, str] = {}
    for letter, text in _OPTION.findall(question):
        if letter == "A":
            found = {}
        if letter == ascii_uppercase[len(found)]:
            found[letter] = text.strip()
    return found


def positions(read: Sequence[str], right: Sequence[str], prefix: str = "") -> dict[str, Figure]:
    """Per letter: its share of the predictions, its share of the right answers, and the accuracy where it is right.

    ``read`` holds the letter read out of each prediction ("" where none was), ``right`` the right one.  A model that
    looks finds the right answer in every position equally often; one that prefers a letter predicts it more often than
    it is right.
    """
    found: dict[str, Figure] = {}
    for letter in sorted({*right, *(letter for letter in read if letter)}):
        found[f"{prefix}{letter} predicted"] = ratio([(one == letter, 1) for one in read])
        found[f"{prefix}{letter} is right"] = ratio([(one == letter, 1) for one in right])
        found[f"{prefix}accuracy where {letter} is right"] = ratio(
            [(one == two, 1) if two == letter else (0, 0) for one, two in zip(read, right, strict=True)]
        )
    found[f"{prefix}no letter"] = ratio([(not letter, 1) for letter in read])
    return found
