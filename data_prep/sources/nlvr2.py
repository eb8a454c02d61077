"""NLVR2 (Suhr et al., ACL 2019) from its official files: is a statement true of two photographs?

The folder holds ``dev.json`` and ``test1.json`` (the public test) beside the pictures, ``test1/test1-0-1-img0.png`` and
``test1-0-1-img1.png`` (left and right; not all of them are PNG, whatever their name), ``dev`` likewise.  6,982 dev and
6,967 test1 statements.  Names and nesting, and the counts: github.com/lil-lab/nlvr at commit 1892484, nlvr2/README.md,
nlvr2/data.
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

SPLITS = ("dev", "test1")
NLVR2 = Official("NLVR2", "https://github.com/lil-lab/nlvr/tree/master/nlvr2")
LABELS = {"True": "true", "False": "false"}


def check(split: str, folder: Path | None = None) -> None:
    """Raises MendableErrors naming the file and the folder that are missing and where they come from; opens neither."""
    known_split("nlvr2", split, SPLITS)
    folder = NLVR2.given(folder)
    pictures = (folder / split, f"{split}_img.zip, for which the page's form asks ({NLVR2.page})")
    NLVR2.present([(_statements(split, folder), f"{NLVR2.page}, nlvr2/data"), pictures])


def rows(split: str, folder: Path | None = None) -> Iterator[Row]:
    """The split's statements in the file's order, each with the left picture and the right one; the answer is true or
    false.

    Raises MendableError for a missing or damaged file.
    """
    check(split, folder)
    folder = NLVR2.given(folder)
    pictures = Pictures(folder / split, f"ask for the pictures at {NLVR2.page}")

    def example(row: Any, where: str) -> Example:
        identifier, label = field(row, "identifier", str, where), field(row, "label", str, where)
        if label not in LABELS:
            raise RowError("no annotation", f"a row's 'label' is {label!r:.80}, neither True nor False", where)
        pair = identifier.rpartition("-")[0]  # of split-set-pair-sentence: two statements may share a pair
        return Example(
            id=f"nlvr2/{split}/{identifier}",
            images=tuple(pictures(f"{pair}-img{side}.png", where) for side in (0, 1)),
            question=field(row, "sentence", str, where),
            answer=LABELS[label],
            references=(LABELS[label],),
            category="statement",
        )

    yield from each(NLVR2.lines(_statements(split, folder)), example)


def _statements(split: str, folder: Path) -> Path:
    return folder / f"{split}.json"
