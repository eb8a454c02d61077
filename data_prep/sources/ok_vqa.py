"""OK-VQA (Marino et al., CVPR 2019) from its official files: questions about COCO's pictures that take knowledge.

The folder holds the unpacked archives side by side: ``OpenEnded_mscoco_train2014_questions.json``,
``mscoco_train2014_annotations.json``, ``train2014/COCO_train2014_000000051606.jpg`` and so on; ``val2014`` likewise.
The form is VQA's, but an annotation has no ``multiple_choice_answer``: taught is the most frequent answer, of equals
the first.  References are the ten ``answer``, the authors' processed form, not ``raw_answer``.  Names and nesting:
okvqa.allenai.org/download.html.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from data_prep.fields import field
from data_prep.official import Official
from data_prep.rows import RowError
from data_prep.vqa_files import VqaFiles

KINDS = {
    "one": "Vehicles and Transportation",
    "two": "Brands, Companies and Products",
    "three": "Objects, Material and Clothing",
    "four": "Sports and Recreation",
    "five": "Cooking and Food",
    "six": "Geography, History, Language and Culture",
    "seven": "People and Everyday life",
    "eight": "Plants and Animals",
    "nine": "Science and Technology",
    "ten": "Weather and Climate",
    "other": "Other",
}
"""An annotation's ``question_type``, by the file's own ``question_types``."""


def _kind(annotation: dict[str, Any], where: str) -> str:
    kind = field(annotation, "question_type", str, where)
    if kind not in KINDS:
        raise RowError("wrong type", f"a row's 'question_type' is {kind!r:.80}, none of {', '.join(KINDS)}", where)
    return KINDS[kind]


OK_VQA = VqaFiles(
    "ok_vqa",
    Official("OK-VQA", "https://okvqa.allenai.org/download.html"),
    questions="OpenEnded_mscoco_{split}2014_questions.json",
    annotations="mscoco_{split}2014_annotations.json",
    keys=("question_type",),
    answer=lambda annotation, where: Counter(annotation["answers"]).most_common(1)[0][0],
    category=_kind,
)
SPLITS, check, rows = OK_VQA.splits, OK_VQA.check, OK_VQA.rows
