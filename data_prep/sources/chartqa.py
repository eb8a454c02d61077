"""ChartQA (Masry et al., Findings of ACL 2022) from its official files: questions about charts, written or generated.

The folder is the repository's ``ChartQA Dataset`` (github.com/vis-nlp/ChartQA at commit 3dab8e8): ``train/png/``,
``train/train_human.json`` (written by people) and ``train/train_augmented.json`` (generated from summaries); ``val``
and ``test`` likewise.  28,299 train, 1,920 val and 2,500 test questions.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.columns import numbered
from data_prep.confined import Pictures
from data_prep.example import Example
from data_prep.fields import field
from data_prep.official import Official
from data_prep.rows import Row
from data_prep.sources import known_split

SPLITS = ("train", "val", "test")
CHARTQA = Official("ChartQA", "https://github.com/vis-nlp/ChartQA")
KINDS = ("human", "augmented")


def check(split: str, folder: Path | None = None) -> None:
    """Raises MendableErrors naming each file or folder that is missing and where it comes from; opens none of them."""
    known_split("chartqa", split, SPLITS)
    folder = CHARTQA.given(folder)
    wanted = [*(_questions(split, kind, folder) for kind in KINDS), folder / split / "png"]
    CHARTQA.present((path, f"{CHARTQA.page}, folder 'ChartQA Dataset'") for path in wanted)


def rows(split: str, folder: Path | None = None) -> Iterator[Row]:
    """The split's written questions in their file's order, then the generated ones; the category says which.

    Raises MendableError for a missing or damaged file.
    """
    check(split, folder)
    folder = CHARTQA.given(folder)
    pictures = Pictures(folder / split / "png", f"take the folder again from {CHARTQA.page}")

    def example(row: Any, where: str, number: int, kind: str) -> Example:
        answer = field(row, "label", str, where)
        return Example(
            id=f"chartqa/{split}/{kind}/{number:06d}",
            images=(pictures(field(row, "imgname", str, where), where),),
            question=field(row, "query", str, where),
            answer=answer,
            references=(answer,),
            category=kind,
        )

    for kind in KINDS:
        yield from numbered(CHARTQA.rows(_questions(split, kind, folder)), partial(example, kind=kind))


def _questions(split: str, kind: str, folder: Path) -> Path:
    return folder / split / f"{split}_{kind}.json"
