"""DocVQA (Mathew et al., WACV 2021), single pages, from its official files: questions about scanned documents.

The folder holds the two archives of the challenge's task 1, each unpacked into a folder of its own name:
``spdocvqa_qas/train_v1.0_withQT.json`` and ``spdocvqa_images/xnbl0037_1.png``, which the JSON calls
``documents/xnbl0037_1.png``.  39,463 train and 5,349 val questions; the test split's answers are not public.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.confined import Pictures
from data_prep.document_questions import document_rows
from data_prep.fields import field
from data_prep.official import Official
from data_prep.rows import Row
from data_prep.sources import known_split

SPLITS = ("train", "val")
DOCVQA = Official("DocVQA", "https://rrc.cvc.uab.es/?ch=17&com=downloads")


def check(split: str, folder: Path | None = None) -> None:
    """Raises MendableErrors naming the file and the folder that are missing and where they come from; opens neither."""
    known_split("docvqa", split, SPLITS)
    folder = DOCVQA.given(folder)
    questions, pictures = f"spdocvqa_qas.zip ({DOCVQA.page})", f"spdocvqa_images.tar.gz ({DOCVQA.page})"
    DOCVQA.present([(_questions(split, folder), questions), (folder / "spdocvqa_images", pictures)])


def rows(split: str, folder: Path | None = None) -> Iterator[Row]:
    """The split's questions in the file's order; any of the answers counts as right, and the first is taught.

    Raises MendableError for a missing or damaged file.
    """
    check(split, folder)
    folder = DOCVQA.given(folder)
    pictures = Pictures(folder / "spdocvqa_images", f"unpack spdocvqa_images.tar.gz ({DOCVQA.page}) there")

    def picture(row: Any, where: str) -> Path:
        return pictures(field(row, "image", str, where).removeprefix("documents/"), where)

    yield from document_rows(DOCVQA, _questions(split, folder), f"docvqa/{split}", "document", picture)


def _questions(split: str, folder: Path) -> Path:
    return folder / "spdocvqa_qas" / f"{split}_v1.0_withQT.json"
