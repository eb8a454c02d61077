"""TextVQA (Singh et al., CVPR 2019) from its official files: questions whose answers are read in the picture.

The folder holds ``TextVQA_0.5.1_train.json`` and ``TextVQA_0.5.1_val.json`` beside the unpacked pictures of both,
``train_images/0054c91397f2fe05.jpg`` and so on.  34,602 train and 5,000 val questions; the test split's answers are not
public.  Names and nesting, and the counts: github.com/huggingface/datasets at commit 54f9471 (the authors' own script,
datasets/textvqa/textvqa.py) and at 040102f (datasets/textvqa/README.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.confined import Pictures
from data_prep.example import Example
from data_prep.fields import field, texts
from data_prep.official import Official
from data_prep.rows import Row, each
from data_prep.sources import known_split

SPLITS = ("train", "val")
TEXTVQA = Official("TextVQA", "https://textvqa.org/dataset/")
PICTURES = "https://dl.fbaipublicfiles.com/textvqa/images/train_val_images.zip"


def check(split: str, folder: Path | None = None) -> None:
    """Raises MendableErrors naming the file and the folder that are missing and where they come from; opens neither."""
    known_split("textvqa", split, SPLITS)
    folder = TEXTVQA.given(folder)
    TEXTVQA.present([(_questions(split, folder), TEXTVQA.page), (folder / "train_images", PICTURES)])


def rows(split: str, folder: Path | None = None) -> Iterator[Row]:
    """The split's questions in the file's order; references are the ten answers as given (VQA accuracy counts them).

    Taught is the most frequent answer, of equals the first.  Raises MendableError for a missing or damaged file.
    """
    check(split, folder)
    folder = TEXTVQA.given(folder)
    pictures = Pictures(folder / "train_images", f"unpack {PICTURES} into {folder}")

    def example(row: Any, where: str) -> Example:
        answers = texts(row, "answers", where)
        return Example(
            id=f"textvqa/{split}/{field(row, 'question_id', int, where)}",
            images=(pictures(f"{field(row, 'image_id', str, where)}.jpg", where),),
            question=field(row, "question", str, where),
            answer=Counter(answers).most_common(1)[0][0],
            references=answers,
            category="scene text",
        )

    yield from each(TEXTVQA.rows(_questions(split, folder), "data"), example)


def _questions(split: str, folder: Path) -> Path:
    return folder / f"TextVQA_0.5.1_{split}.json"
