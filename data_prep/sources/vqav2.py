"""VQAv2 (Goyal et al., CVPR 2017) from its official files: questions, the ten annotators' answers, COCO's pictures.

The folder holds the unpacked archives side by side: ``v2_OpenEnded_mscoco_train2014_questions.json``,
``v2_mscoco_train2014_annotations.json``, ``train2014/COCO_train2014_000000000009.jpg`` and so on; ``val2014`` likewise.
443,757 train and 214,354 val questions; the test split's answers are not public.  Names and nesting, and the counts:
visualqa.org/download.html.
"""

from __future__ import annotations

from data_prep.fields import field
from data_prep.official import Official
from data_prep.vqa_files import VqaFiles

VQAV2 = VqaFiles(
    "vqav2",
    Official("VQAv2", "https://visualqa.org/download.html"),
    questions="v2_OpenEnded_mscoco_{split}2014_questions.json",
    annotations="v2_mscoco_{split}2014_annotations.json",
    keys=("multiple_choice_answer", "answer_type"),
    answer=lambda annotation, where: field(annotation, "multiple_choice_answer", str, where),
    category=lambda annotation, where: field(annotation, "answer_type", str, where),  # yes/no, number or other
)
SPLITS, check, rows = VQAV2.splits, VQAV2.check, VQAV2.rows
