"""GQA (Hudson and Manning, CVPR 2019) from its official files, balanced questions: about the things in a photograph.

The folder holds ``train_balanced_questions.json``, ``val_balanced_questions.json`` and
``testdev_balanced_questions.json``, on which papers report, beside ``images/2354786.jpg`` and so on.  943,000 train,
132,062 val and 12,578 testdev questions (huggingface.co/datasets/Mineru/GQA); the test split's answers are not public.
Names and nesting: cs.stanford.edu/people/dorarad/gqa/download.html, and an entry of it in
github.com/Aishwarya-NR/LRTA_Perturbed_Dataset, README.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.confined import Pictures
from data_prep.example import Example
from data_prep.fields import field
from data_prep.official import Official
from data_prep.rows import Row, each
from data_prep.sources import known_split

SPLITS = ("train", "val", "testdev")
GQA = Official("GQA", "https://cs.stanford.edu/people/dorarad/gqa/download.html")


def check(split: str, folder: Path | None = None) -> None:
    """Raises MendableErrors naming the file and the folder that are missing and where they come from; opens neither."""
    known_split("gqa", split, SPLITS)
    folder = GQA.given(folder)
    GQA.present([(_questions(split, folder), f"questions1.2.zip ({GQA.page})"), (folder / "images", _pictures())])


def rows(split: str, folder: Path | None = None) -> Iterator[Row]:
    """The split's questions in the file's order, with the short answer; the category says how each is built.

    That is query, verify, choose, compare or logical.  Raises MendableError for a missing or damaged file.
    """
    check(split, folder)
    folder = GQA.given(folder)
    pictures = Pictures(folder / "images", f"unpack {_pictures()} into {folder}")

    def example(entry: tuple[str, Any], where: str) -> Example:
        question_id, row = entry
        answer = field(row, "answer", str, where)
        return Example(
            id=f"gqa/{split}/{question_id}",
            images=(pictures(f"{field(row, 'imageId', str, where)}.jpg", where),),
            question=field(row, "question", str, where),
            answer=answer,
            references=(answer,),
            category=field(field(row, "types", dict, where), "structural", str, where),
        )

    yield from each(GQA.entries(_questions(split, folder)), example)


def _questions(split: str, folder: Path) -> Path:
    return folder / f"{split}_balanced_questions.json"


def _pictures() -> str:
    return f"images.zip ({GQA.page})"
