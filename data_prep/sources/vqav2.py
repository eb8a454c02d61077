"""VQAv2 (Goyal et al., CVPR 2017) from its official files: questions, the ten annotators' answers, COCO's pictures.

The folder holds the unpacked archives side by side: ``v2_OpenEnded_mscoco_train2014_questions.json``,
``v2_mscoco_train2014_annotations.json``, ``train2014/COCO_train2014_000000000009.jpg`` and so on; ``val2014`` likewise.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data_prep.example import Example
from data_prep.official import Official, Pictures
from data_prep.sources import known_split
from mlplora_vlm.errors import MendableError

SPLITS = ("train", "val")
VQAV2 = Official("VQAv2", "https://visualqa.org/download.html")
PICTURES_SITE = "http://images.cocodataset.org/zips/"


def check(split: str, folder: Path | None = None) -> None:
    """Raises MendableErrors naming each file or folder that is missing and where it comes from; opens none of them."""
    known_split("vqav2", split, SPLITS)
    folder = VQAV2.given(folder)
    pictures = (folder / f"{split}2014", f"{PICTURES_SITE}{split}2014.zip")
    VQAV2.present([(_questions(split, folder), VQAV2.page), (_annotations(split, folder), VQAV2.page), pictures])


def rows(split: str, folder: Path | None = None) -> Iterator[Example]:
    """The split's questions in the file's order; references are the ten answers as given (VQA accuracy counts them).

    Raises MendableError for a missing or damaged file, a question without annotation, or a missing picture.
    """
    check(split, folder)
    folder = VQAV2.given(folder)
    asked, answered = _questions(split, folder), _annotations(split, folder)
    pictures = Pictures(folder / f"{split}2014", f"unpack {PICTURES_SITE}{split}2014.zip into {folder}")
    field = VQAV2.field
    annotations = {
        field(row, "question_id", int, f"{answered}, row {number}"): row
        for number, row in enumerate(VQAV2.rows(answered, "annotations"))
    }
    for number, row in enumerate(VQAV2.rows(asked, "questions")):
        where = f"{asked}, row {number}"
        question_id = field(row, "question_id", int, where)
        if (annotation := annotations.get(question_id)) is None:
            fix = f"take both files from {VQAV2.page}"
            raise MendableError(f"question {question_id} has no annotation", str(answered), fix)
        beside = f"{answered}, question {question_id}"
        image_id = field(row, "image_id", int, where)
        yield Example(
            id=f"vqav2/{split}/{question_id}",
            images=(pictures(f"COCO_{split}2014_{image_id:012d}.jpg", where),),
            question=field(row, "question", str, where),
            answer=field(annotation, "multiple_choice_answer", str, beside),
            references=tuple(
                field(given, "answer", str, beside) for given in field(annotation, "answers", list, beside)
            ),
            category=field(annotation, "answer_type", str, beside),  # yes/no, number or other
        )


def _questions(split: str, folder: Path) -> Path:
    return folder / f"v2_OpenEnded_mscoco_{split}2014_questions.json"


def _annotations(split: str, folder: Path) -> Path:
    return folder / f"v2_mscoco_{split}2014_annotations.json"
