"""ScienceQA (Lu et al., NeurIPS 2022) from its official files: school questions with choices, about half with pictures.

The folder is the repository's ``data/scienceqa`` (github.com/lupantech/ScienceQA at commit 2cbf831): ``problems.json``,
``pid_splits.json`` and, unpacked as its tools/download.sh does, ``images/train/1/image.png`` and so on.  12,726 train,
4,241 val and 4,241 test questions (pid_splits.json); names and nesting: its README.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from data_prep.confined import Pictures
from data_prep.example import Example
from data_prep.fields import field, texts
from data_prep.lettered import lettered
from data_prep.official import Official
from data_prep.records import Record
from data_prep.rows import Row, RowError, each
from data_prep.sources import known_split

PICTURED = {"train_img": "train", "val_img": "val", "test_img": "test"}
"""The splits without the questions that have no picture: papers report test_img as ScienceQA-IMG."""
SPLITS = ("train", "val", "test", *PICTURED)
SCIENCEQA = Official("ScienceQA", "https://github.com/lupantech/ScienceQA")
PICTURES_SITE = "https://scienceqa.s3.us-west-1.amazonaws.com/images/"


def check(split: str, folder: Path | None = None) -> None:
    """Raises MendableErrors naming each file or folder that is missing and where it comes from; opens none of them."""
    known_split("scienceqa", split, SPLITS)
    folder = SCIENCEQA.given(folder)
    files = [(folder / name, f"{SCIENCEQA.page}, data/scienceqa") for name in ("problems.json", "pid_splits.json")]
    SCIENCEQA.present([*files, (folder / "images" / _own(split), f"{PICTURES_SITE}{_own(split)}.zip")])


def rows(split: str, folder: Path | None = None) -> Iterator[Row]:
    """The split's questions in the order of pid_splits.json; those without a picture are text alone, or left out.

    A question has its hint, if any, before it and its choices under letters behind it; the answer is the right one's
    letter.  That, with the prompt option_letter, is how github.com/EvolvingLMMs-Lab/lmms-eval at commit 2bb5e98 asks
    (lmms_eval/tasks/scienceqa/utils.py).  The category is the subject.  Raises MendableError for a missing or damaged
    file.
    """
    check(split, folder)
    folder = SCIENCEQA.given(folder)
    path = folder / "problems.json"
    pictured, split = split in PICTURED, _own(split)
    problems = dict(entry for _, entry in SCIENCEQA.entries(path))
    pictures = Pictures(folder / "images" / split, f"unpack {PICTURES_SITE}{split}.zip into {folder / 'images'}")

    def example(number: Any, where: str) -> Example:
        if not isinstance(number, str) or number not in problems:
            raise RowError("no annotation", f"question {number!r:.80} is not in {path.name}", where)
        problem = problems[number]
        question, letter = _asked(problem, where)
        return Example(
            id=f"scienceqa/{split}/{number}",
            images=tuple(pictures(f"{number}/{name}", where) for name in _picture(problem, where)),
            question=question,
            answer=letter,
            references=(letter,),
            category=field(problem, "subject", str, where),
        )

    without = {number for number in problems if pictured and _has_no_picture(problems[number])}
    yield from each(_numbers(path, SCIENCEQA.rows(folder / "pid_splits.json", split), without), example)


def _own(split: str) -> str:
    """The authors' split that this one is of."""
    return PICTURED.get(split, split)


def _numbers(path: Path, listed: Iterator[Record], without: Collection[str]) -> Iterator[Record]:
    """The split's questions by number, each where the question itself stands, but those that are left out."""
    for _, number in listed:
        if isinstance(number, str) and number in without:
            continue
        yield f"{path}, question {number!s:.80}", number


def _asked(problem: Any, where: str) -> tuple[str, str]:
    """(hint, question and choices, each on a line of its own; the right choice's letter)."""
    hint, question = field(problem, "hint", str, where), field(problem, "question", str, where)
    choices, right = texts(problem, "choices", where), field(problem, "answer", int, where)
    asked, letter = lettered(question, choices, right, where)
    return "\n".join([*([f"Context: {hint}"] if hint else []), asked]), letter


def _has_no_picture(problem: Any) -> bool:
    return isinstance(problem, dict) and "image" in problem and problem["image"] is None


def _picture(problem: Any, where: str) -> tuple[str, ...]:
    """The picture's name, if there is one: a question without it says so with null."""
    if _has_no_picture(problem):
        return ()
    return (field(problem, "image", str, where),)
