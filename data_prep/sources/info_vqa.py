"""InfographicVQA (Mathew et al., WACV 2022) from its official files: questions about infographics.

The folder holds the two archives of the challenge's task 3, each unpacked into a folder of its own name:
``infographicsvqa_qas/infographicsVQA_train_v1.0.json``, ``infographicsVQA_val_v1.0_withQT.json`` beside it, and
``infographicsvqa_images/37313.jpeg``, which the JSON calls ``37313.jpeg``.  2,801 val questions about 500 pictures; the
test split's answers are not public.  Names and nesting: github.com/open-mmlab/mmpretrain at commit ee7f2e8,
mmpretrain/datasets/infographic_vqa.py.
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
INFO_VQA = Official("InfographicVQA", "https://rrc.cvc.uab.es/?ch=17&com=downloads")


def check(split: str, folder: Path | None = None) -> None:
    """Raises MendableErrors naming the file and the folder that are missing and where they come from; opens neither."""
    known_split("info_vqa", split, SPLITS)
    folder = INFO_VQA.given(folder)
    questions, pictures = (f"infographicsvqa_{part} ({INFO_VQA.page})" for part in ("qas.zip", "images.tar.gz"))
    INFO_VQA.present([(_questions(split, folder), questions), (folder / "infographicsvqa_images", pictures)])


def rows(split: str, folder: Path | None = None) -> Iterator[Row]:
    """The split's questions in the file's order; any of the answers counts as right, and the first is taught.

    Raises MendableError for a missing or damaged file.
    """
    check(split, folder)
    folder = INFO_VQA.given(folder)
    missing = f"unpack infographicsvqa_images.tar.gz ({INFO_VQA.page}) there"
    pictures = Pictures(folder / "infographicsvqa_images", missing)

    def picture(row: Any, where: str) -> Path:
        return pictures(field(row, "image_local_name", str, where), where)

    yield from document_rows(INFO_VQA, _questions(split, folder), f"info_vqa/{split}", "infographic", picture)


def _questions(split: str, folder: Path) -> Path:
    name = {"train": "infographicsVQA_train_v1.0", "val": "infographicsVQA_val_v1.0_withQT"}[split]
    return folder / "infographicsvqa_qas" / f"{name}.json"
