"""VQAv2 (Goyal et al., CVPR 2017) from its official files: questions, the ten annotators' answers, COCO's pictures.

The folder holds the unpacked archives side by side: ``v2_OpenEnded_mscoco_train2014_questions.json``,
``v2_mscoco_train2014_annotations.json``, ``train2014/COCO_train2014_000000000009.jpg`` and so on; ``val2014`` likewise.
443,757 train and 214,354 val questions; the test split's answers are not public.  Names and nesting, and the counts:
visualqa.org/download.html.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from sys import intern
from typing import Any

from data_prep.confined import Pictures
from data_prep.example import Example
from data_prep.fields import field, texts
from data_prep.official import Official
from data_prep.rows import Row, RowError, each
from data_prep.sources import known_split

SPLITS = ("train", "val")
VQAV2 = Official("VQAv2", "https://visualqa.org/download.html")
PICTURES_SITE = "http://images.cocodataset.org/zips/"


def check(split: str, folder: Path | None = None) -> None:
    """Raises MendableErrors naming each file or folder that is missing and where it comes from; opens none of them."""
    known_split("vqav2", split, SPLITS)
    folder = VQAV2.given(folder)
    pictures = (folder / f"{split}2014", f"{PICTURES_SITE}{split}2014.zip")
    VQAV2.present([(_questions(split, folder), VQAV2.page), (_annotations(split, folder), VQAV2.page), pictures])


def rows(split: str, folder: Path | None = None) -> Iterator[Row]:
    """The split's questions in the file's order; references are the ten answers as given (VQA accuracy counts them).

    Raises MendableError for a missing or damaged file.
    """
    check(split, folder)
    folder = VQAV2.given(folder)
    pictures = Pictures(folder / f"{split}2014", f"unpack {PICTURES_SITE}{split}2014.zip into {folder}")
    answered = _annotations(split, folder)
    annotations = {
        row["question_id"]: _used(row)
        for _, row in VQAV2.rows(answered, "annotations")
        if isinstance(row, dict) and type(row.get("question_id")) is int  # the question of any other then has none
    }

    def example(row: Any, where: str) -> Example:
        question_id = field(row, "question_id", int, where)
        if (annotation := annotations.get(question_id)) is None:
            raise RowError("no annotation", f"question {question_id} has no annotation in {answered.name}", where)
        image_id = field(row, "image_id", int, where)
        return Example(
            id=f"vqav2/{split}/{question_id}",
            images=(pictures(f"COCO_{split}2014_{image_id:012d}.jpg", where),),
            question=field(row, "question", str, where),
            answer=field(annotation, "multiple_choice_answer", str, where),
            references=texts(annotation, "answers", where),
            category=field(annotation, "answer_type", str, where),  # yes/no, number or other
        )

    yield from each(VQAV2.rows(_questions(split, folder), "questions"), example)


def _used(annotation: dict[str, Any]) -> dict[str, Any]:
    """What rows are made of: of the ``answers`` their texts alone, each kept once for all of the split's 4,437,570."""
    keys = ("multiple_choice_answer", "answer_type", "answers")
    kept: dict[str, Any] = {key: annotation[key] for key in keys if key in annotation}
    if isinstance(given := kept.get("answers"), list):
        answers = [each.get("answer") if isinstance(each, dict) else None for each in given]
        kept["answers"] = [intern(answer) if isinstance(answer, str) else answer for answer in answers]
    return kept


def _questions(split: str, folder: Path) -> Path:
    return folder / f"v2_OpenEnded_mscoco_{split}2014_questions.json"


def _annotations(split: str, folder: Path) -> Path:
    return folder / f"v2_mscoco_{split}2014_annotations.json"
