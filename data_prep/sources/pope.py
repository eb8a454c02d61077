"""POPE (Li et al., EMNLP 2023) from its official files: is there such a thing in the photograph, yes or no?

The folder holds ``coco_pope_random.json``, ``coco_pope_popular.json`` and ``coco_pope_adversarial.json`` beside COCO's
``val2014/``.  The splits are these three: what is asked about and not there is any object, a frequent one, or one that
often goes with what is there.  3,000 questions each about 500 pictures, half of them to be answered with yes.  Names
and nesting, and the counts: github.com/RUCAIBox/POPE at commit 3df3ba1, output/coco; LLaVA-1.5 was evaluated on the
files of commit e3e3926, where ``random`` has 2,910.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.confined import Pictures
from data_prep.example import Example
from data_prep.fields import field
from data_prep.official import Official
from data_prep.rows import Row, RowError, each
from data_prep.sources import known_split

SPLITS = ("random", "popular", "adversarial")
POPE = Official("POPE", "https://github.com/RUCAIBox/POPE")
PICTURES = "http://images.cocodataset.org/zips/val2014.zip"
LABELS = {"yes": "present", "no": "absent"}


def check(split: str, folder: Path | None = None) -> None:
    """Raises MendableErrors naming the file and the folder that are missing and where they come from; opens neither."""
    known_split("pope", split, SPLITS)
    folder = POPE.given(folder)
    POPE.present([(_questions(split, folder), f"{POPE.page}, output/coco"), (folder / "val2014", PICTURES)])


def rows(split: str, folder: Path | None = None) -> Iterator[Row]:
    """The split's questions in the file's order; the category says whether the thing is present or absent.

    Raises MendableError for a missing or damaged file.
    """
    check(split, folder)
    folder = POPE.given(folder)
    pictures = Pictures(folder / "val2014", f"unpack {PICTURES} into {folder}")

    def example(row: Any, where: str) -> Example:
        label = field(row, "label", str, where)
        if label not in LABELS:
            raise RowError("no annotation", f"a row's 'label' is {label!r:.80}, neither yes nor no", where)
        return Example(
            id=f"pope/{split}/{field(row, 'question_id', int, where)}",
            images=(pictures(field(row, "image", str, where), where),),
            question=field(row, "text", str, where),
            answer=label,
            references=(label,),
            category=LABELS[label],
        )

    yield from each(POPE.lines(_questions(split, folder)), example)


def _questions(split: str, folder: Path) -> Path:
    return folder / f"coco_pope_{split}.json"
