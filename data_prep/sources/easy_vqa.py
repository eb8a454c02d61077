"""Easy-VQA (Victor Zhou, MIT; the package easy-vqa 1.0): questions about one coloured shape, in published splits.

4,000 + 1,000 pictures of 64 x 64 pixels, 38,575 + 9,673 questions, 13 answers.  The questions alone give much away (a
question's most frequent answer: 67 %; on open questions alone: 23 %), so scores are reported by category.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from data_prep.demo.packages import package_file
from data_prep.example import Example
from data_prep.sources import known_split

SPLITS = ("train", "test")


def check(split: str, folder: Path | None = None) -> None:
    """Raises MendableError where the split is unknown or the package missing; ``folder`` is not used."""
    _questions_file(split)


def rows(split: str, folder: Path | None = None) -> Iterator[Example]:
    """The split's questions in the package's order; ``folder`` is not used: the package holds the pictures."""
    path = _questions_file(split)
    for number, (question, answer, picture) in enumerate(json.loads(path.read_text(encoding="utf-8"))):
        yield Example(
            id=f"easy_vqa/{split}/{number:06d}",
            images=(path.parent / "images" / f"{int(picture)}.png",),
            question=question,
            answer=answer,
            references=(answer,),
            category="yes/no" if answer in ("yes", "no") else "open",
            where=f"{path}, row {number}",
        )


def _questions_file(split: str) -> Path:
    known_split("easy_vqa", split, SPLITS)
    return package_file("easy-vqa", "easy_vqa", f"data/{split}/questions.json")
