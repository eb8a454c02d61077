"""SEED-Bench (Li et al., CVPR 2024), its picture part, from its official files: questions with four choices.

The folder holds ``SEED-Bench.json`` beside the unpacked ``SEED-Bench-image/``, whose pictures have no suffix
(``SEED-Bench-image/1454426_2591111986``).  Questions about videos (``data_type`` video) are no part of the split.
Names and nesting: github.com/AILab-CVC/SEED-Bench at commit 991e849, DATASET.md; the file's ``question_type``, by
which the category is named: github.com/haotian-liu/LLaVA at commit c121f04, scripts/convert_seed_for_submission.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.confined import Pictures
from data_prep.example import Example
from data_prep.fields import field
from data_prep.lettered import letter_number, lettered
from data_prep.official import Official
from data_prep.records import Record
from data_prep.rows import Row, RowError, each
from data_prep.sources import known_split

SPLITS = ("image",)
SEED = Official("SEED-Bench", "https://huggingface.co/datasets/AILab-CVC/SEED-Bench")
CHOICES = ("choice_a", "choice_b", "choice_c", "choice_d")


def check(split: str, folder: Path | None = None) -> None:
    """Raises MendableErrors naming the file and the folder that are missing and where they come from; opens neither."""
    known_split("seed_bench", split, SPLITS)
    folder = SEED.given(folder)
    pictures = (folder / "SEED-Bench-image", f"SEED-Bench-image.zip ({SEED.page})")
    SEED.present([(folder / "SEED-Bench.json", SEED.page), pictures])


def rows(split: str, folder: Path | None = None) -> Iterator[Row]:
    """The questions about pictures in the file's order, with their choices under letters; the answer is a letter.

    Raises MendableError for a missing or damaged file.
    """
    check(split, folder)
    folder = SEED.given(folder)
    path = folder / "SEED-Bench.json"
    pictures = Pictures(folder / "SEED-Bench-image", f"unpack SEED-Bench-image.zip ({SEED.page}) into {folder}")
    kinds = {number: name for _, (name, number) in SEED.entries(path, "type", "question_type") if type(number) is int}

    def example(row: Any, where: str) -> Example:
        kind = field(row, "question_type_id", int, where)
        if kind not in kinds:
            raise RowError("no annotation", f"question type {kind} has no name in {path.name}", where)
        choices = [field(row, key, str, where) for key in CHOICES]
        right = letter_number(field(row, "answer", str, where), where)
        question, letter = lettered(field(row, "question", str, where), choices, right, where)
        return Example(
            id=f"seed_bench/image/{field(row, 'question_id', str, where)}",
            images=(pictures(field(row, "data_id", str, where), where),),
            question=question,
            answer=letter,
            references=(letter,),
            category=kinds[kind],
        )

    yield from each(_of_pictures(SEED.rows(path, "questions")), example)


def _of_pictures(questions: Iterator[Record]) -> Iterator[Record]:
    """All but those about videos; what says neither is read, and rejected."""
    for where, row in questions:
        kind = row.get("data_type") if isinstance(row, dict) else None
        if kind == "image":
            yield where, row
        elif kind != "video":
            yield where, RowError("wrong type", f"a row's 'data_type' is {kind!r:.80}, neither image nor video", where)
