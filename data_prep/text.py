"""A row's text as the model may be given it: nothing in it is read as more than text."""

from __future__ import annotations

import re
from typing import Literal

from data_prep.rows import RowError

ESCAPED = "control tokens escaped"
TAKEN_OUT = "control characters taken out"

_NO_TEXT: dict[int, str | None] = dict.fromkeys((*range(0x20), 0x7F, *range(0xFDD0, 0xFDF0)))
_NO_TEXT |= dict.fromkeys(plane << 16 | last for plane in range(17) for last in (0xFFFE, 0xFFFF))
_NO_TEXT |= {0x0B: "\n", 0x0C: "\n"}  # the breaks of a column and of a page, as OCR writes them
for kept in "\t\n\r":
    del _NO_TEXT[ord(kept)]

_ANY_NO_TEXT = re.compile(f"[{''.join(map(re.escape, map(chr, _NO_TEXT)))}]")
_HALF = re.compile("[\ud800-\udfff]")
_ROUNDS = 8  # of escaping; what tokens are then still read cannot be told apart by a space


def clean(text: str, specials: re.Pattern[str], policy: Literal["refuse", "escape"]) -> tuple[str, tuple[str, ...]]:
    """The text as it can be tokenised, and what was mended in it: `ESCAPED`, `TAKEN_OUT`, both or nothing.

    Taken out are the control characters of ASCII but tab and line breaks (column and page breaks become line breaks),
    and what Unicode keeps for a program's own use, ours among them (U+FDD0 …, U+xFFFE, U+xFFFF).  All else stays:
    ``text`` may hold the sign that stands for a picture.  A control token (``specials``, see `chat.special_tokens`)
    gets a space after its first character under the policy "escape".
    Raises RowError for a control token under the policy "refuse", or one that a space does not keep from being read,
    and for half of a surrogate pair, which no encoding can hold.
    """
    if not text.isascii() and (half := _HALF.search(text)):
        raise RowError("invalid text", f"half of a surrogate pair ({half[0]!r}) in {_around(text, half)}")
    repairs: tuple[str, ...] = ()
    if _ANY_NO_TEXT.search(text):  # before tokens are looked for: within one, they would hide it
        text, repairs = text.translate(_NO_TEXT), (TAKEN_OUT,)
    if not (found := specials.search(text)):
        return text, repairs
    if policy == "escape":
        text = _escaped(text, specials)
        repairs += (ESCAPED,)
        found = specials.search(text)
    if found:
        raise RowError("control tokens", f"the control token {found[0]!r} in {_around(text, found)}")
    return text, repairs


def _escaped(text: str, specials: re.Pattern[str]) -> str:
    """The text with a space after the first character of each control token, and of each that this makes anew."""
    for _ in range(_ROUNDS):
        text, found = specials.subn(lambda token: f"{token[0][0]} {token[0][1:]}", text)
        if not found:
            break
    return text


def _around(text: str, found: re.Match[str]) -> str:
    start = max(0, found.start() - 30)
    return f"{text[start : found.end() + 30]!r}"
