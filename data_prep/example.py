"""What every source yields and every later step reads: one picture-and-text example."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Example:
    """One question about one or more pictures, with its reference answers, or a conversation that ends in one.

    ``id`` is unique within its source and split and names the row for people.
    ``images`` are file paths (opened late, in the collator's worker) or pictures that a source draws or holds.
    ``question`` is empty where the named prompt says it all, as in captioning.
    ``answer`` is what training teaches; ``references`` are all answers that evaluation accepts (``answer`` among them).
    ``category`` is the group that scores are reported for, such as ``yes/no`` or ``open``.
    ``earlier`` are the (question, answer) turns before the question, taught too; the pictures stand before the first.
    """

    id: str
    images: tuple[Path | Image, ...]
    question: str
    answer: str
    references: tuple[str, ...]
    category: str
    earlier: tuple[tuple[str, str], ...] = ()

    @property
    def turns(self) -> tuple[tuple[str, str], ...]:
        """Every (question, answer) of the conversation in its order."""
        return (*self.earlier, (self.question, self.answer))
