"""VizWiz-VQA (Gurari et al., CVPR 2018) from its official files: questions of blind people about their own photographs.

The folder holds ``Annotations/train.json`` and ``Annotations/val.json`` beside the unpacked pictures,
``val/VizWiz_val_00000000.jpg`` and so on.  The test split's answers are not public.  Many questions cannot be answered
from the picture: then most of the ten answers are "unanswerable".  Names and nesting: github.com/open-mmlab/mmpretrain
at commit ee7f2e8, mmpretrain/datasets/vizwiz.py, configs/_base_/datasets/vizwiz.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

from data_prep.confined import Pictures
from data_prep.example import Example
from data_prep.fields import field
from data_prep.official import Official
from data_prep.rows import Row, RowError, each
from data_prep.sources import known_split

SPLITS = ("train", "val")
VIZWIZ = Official("VizWiz-VQA", "https://vizwiz.org/tasks-and-datasets/vqa/")
SITE = "https://vizwiz.cs.colorado.edu/VizWiz_final/"


def check(split: str, folder: Path | None = None) -> None:
    """Raises MendableErrors naming the file and the folder that are missing and where they come from; opens neither."""
    known_split("vizwiz", split, SPLITS)
    folder = VIZWIZ.given(folder)
    questions = (_questions(split, folder), f"{SITE}vqa_data/Annotations.zip")
    VIZWIZ.present([questions, (folder / split, f"{SITE}images/{split}.zip")])


def rows(split: str, folder: Path | None = None) -> Iterator[Row]:
    """The split's questions in the file's order; references are the ten answers as given (VQA accuracy counts them).

    Taught is the most frequent answer, of equals the first.  The category is the type that the answers have
    (``unanswerable`` is one).  Raises MendableError for a missing or damaged file.
    """
    check(split, folder)
    folder = VIZWIZ.given(folder)
    pictures = Pictures(folder / split, f"unpack {SITE}images/{split}.zip into {folder}")

    def example(row: Any, where: str) -> Example:
        name = field(row, "image", str, where)
        given = field(row, "answers", list, where)
        if not given:
            raise RowError("wrong type", "a row's 'answers' is an empty list", where)
        answers = tuple(field(answer, "answer", str, where) for answer in given)
        return Example(
            id=f"vizwiz/{split}/{PurePath(name).stem}",  # a picture has one question
            images=(pictures(name, where),),
            question=field(row, "question", str, where),
            answer=Counter(answers).most_common(1)[0][0],
            references=answers,
            category=field(row, "answer_type", str, where),
        )

    yield from each(VIZWIZ.rows(_questions(split, folder)), example)


def _questions(split: str, folder: Path) -> Path:
    return folder / "Annotations" / f"{split}.json"
