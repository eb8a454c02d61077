"""MMBench (Liu et al., ECCV 2024), dev, from its official file: questions with a few choices each.

The folder holds ``mmbench_dev_20230712.tsv``, the file that LLaVA-1.5 was evaluated on, which also holds the pictures,
in base64.  Its columns: index, question, hint, A, B, C, D, answer, category, image, source, l2-category, comment and
split; an empty cell, or ``nan``, is none.  Rows of an ``index`` from 1,000,000 on are rotations of the row of the same
number without the millions, and are not read: ``dev`` is each question once, ``dev_circular`` each with every rotation
of its choices, made here.  1,164 questions.  Names and nesting, and the count: github.com/open-compass/MMBench at
commit 2cdeffb, README.md; the rotations' numbers: github.com/open-compass/VLMEvalKit at commit e8e78f0,
vlmeval/dataset/utils/multiple_choice.py (mcq_circular_eval); the hint's place and the file's name:
github.com/haotian-liu/LLaVA at commit c121f04, llava/eval/model_vqa_mmbench.py, docs/Evaluation.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.csv_records import csv_records
from data_prep.example import Example
from data_prep.fields import field
from data_prep.lettered import letter_number, lettered
from data_prep.official import Official
from data_prep.records import Record
from data_prep.references import of_base64
from data_prep.rows import Row, RowError, each
from data_prep.sources import known_split
from mlplora_vlm.errors import MendableError

SPLITS = ("dev", "dev_circular")
MMBENCH = Official("MMBench", "https://github.com/open-compass/MMBench")
FILE = "mmbench_dev_20230712.tsv"
URL = f"https://download.openmmlab.com/mmclassification/datasets/mmbench/{FILE}"
ROTATIONS_FROM = 1_000_000
LARGEST_PICTURE = 1 << 26  # characters of base64: 50 MB


def check(split: str, folder: Path | None = None) -> None:
    """Raises MendableError where the file is missing, naming where it comes from; does not open it."""
    known_split("mmbench", split, SPLITS)
    MMBENCH.present([(MMBENCH.given(folder) / FILE, URL)])


def rows(split: str, folder: Path | None = None) -> Iterator[Row]:
    """The questions in the file's order, hint first, choices under letters; the answer is a letter.

    For ``dev_circular`` a question's rotations follow each other: the choices move up by one, the first to the end, as
    LLaVA's ``--all-rounds`` does it; their ids agree up to the last slash.  Raises MendableError for a missing or
    damaged file.
    """
    check(split, folder)
    path = MMBENCH.given(folder) / FILE

    def example(found: tuple[Any, int], where: str) -> Example:
        row, turned = found
        choices, right = _choices(row), letter_number(_cell(row, "answer", where), where)
        if right >= len(choices):
            raise RowError("no annotation", f"the answer is number {right} of {len(choices)} choices, from 0", where)
        asked = "\n".join([*_hint(row), _cell(row, "question", where)])
        moved = [*choices[turned:], *choices[:turned]]
        question, letter = lettered(asked, moved, (right - turned) % len(choices), where)
        number = _number(row, where)
        return Example(
            id=f"mmbench/dev/{number}" + (f"/{turned}" if split == "dev_circular" else ""),
            images=(of_base64(_cell(row, "image", where), where),),
            question=question,
            answer=letter,
            references=(letter,),
            category=_cell(row, "category", where),
        )

    yield from each(_asked(split, path), example)


def _asked(split: str, path: Path) -> Iterator[Record]:
    """(where, (the row, how far its choices are turned)) of each question once, or of each of its rotations."""
    some = False
    try:
        for where, row in csv_records(path, LARGEST_PICTURE):
            if isinstance(row, RowError):
                yield where, row
                continue
            some = True
            if _is_rotation(row):
                continue
            for turned in range(max(1, len(_choices(row))) if split == "dev_circular" else 1):
                yield where, (row, turned)
    except (OSError, MendableError) as error:
        raise MMBENCH.damaged(path, error) from error
    if not some:
        raise MMBENCH.damaged(path, ValueError("it holds no rows"))


def _is_rotation(row: dict[str, str]) -> bool:
    index = row.get("index", "")
    return index.isascii() and index.isdecimal() and int(index) >= ROTATIONS_FROM


def _number(row: dict[str, str], where: str) -> int:
    index = _cell(row, "index", where)
    if not (index.isascii() and index.isdecimal()):
        raise RowError("wrong type", f"a row's 'index' is {index!r:.80}, not a whole number", where)
    return int(index)


def _choices(row: dict[str, str]) -> list[str]:
    """The choices, up to the first that is none."""
    found = [row.get(letter, "") for letter in "ABCDE"]
    return found[: next((number for number, choice in enumerate(found) if _is_none(choice)), len(found))]


def _hint(row: dict[str, str]) -> list[str]:
    hint = row.get("hint", "")
    return [] if _is_none(hint) else [hint]


def _cell(row: dict[str, str], column: str, where: str) -> str:
    if _is_none(text := field(row, column, str, where)):
        raise RowError("missing field", f"a row's {column!r} is empty", where)
    return text


def _is_none(cell: str) -> bool:
    return cell.strip().lower() in ("", "nan", "none")
