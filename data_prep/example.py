"""What every source yields and every later step reads: one picture-and-text example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    from PIL.Image import Image

    from data_prep.images import Resized

Picture: TypeAlias = "Path | bytes | Image | Resized"
"""A file (opened late, in the collator's worker), an encoded file, a picture in memory, or one to be made smaller."""
T = TypeVar("T")
PICTURE = "\ufffc"
"""Stands in a question where a picture stands: Unicode's own sign for an object within text."""


@dataclass(frozen=True)
class Example:
    """One question about one or more pictures, with its reference answers, or a conversation that ends in one.

    ``id`` is unique within its source and split and names the row for people.
    ``question`` is empty where the named prompt says it all, as in captioning.  Questions, earlier ones too, hold one
    `PICTURE` for each picture, in the order of ``images``; where none holds any, all stand before the first question.
    ``answer`` is what training teaches; ``references`` are all answers that evaluation accepts (``answer`` among them).
    ``category`` is the group that scores are reported for, such as ``yes/no`` or ``open``.
    ``earlier`` are the (question, answer) turns before the question, taught too.
    ``context_turns`` are the numbers of the turns, from 0, whose answers are context and not labels.
    ``system`` is what the conversation is headed with; empty where the template's own heading is meant.
    ``where`` is the file and line, or row, that it was read from; ``repairs`` says what was mended in reading it.
    """

    id: str
    images: tuple[Picture, ...]
    question: str
    answer: str
    references: tuple[str, ...]
    category: str
    earlier: tuple[tuple[str, str], ...] = ()
    system: str = ""
    where: str = ""
    repairs: tuple[str, ...] = ()
    context_turns: tuple[int, ...] = ()

    @property
    def turns(self) -> tuple[tuple[str, str], ...]:
        """Every (question, answer) of the conversation in its order."""
        return (*self.earlier, (self.question, self.answer))

    def learned(self, answers: Sequence[T]) -> list[T]:
        """Select those of the ``answers``, one per turn, that are labels."""
        return [answer for number, answer in enumerate(answers) if number not in self.context_turns]
