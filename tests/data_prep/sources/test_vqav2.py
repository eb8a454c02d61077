"""VQAv2 from files in the official form: joined by id, and what is said when they are damaged."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest

from data_prep.sources import vqav2
from mlplora_vlm.errors import MendableError


@pytest.fixture
def vqav2_folder(tmp_path: Path) -> Path:
    """Two questions in the official files' form."""
    answers = [{"answer": "net", "answer_confidence": "maybe", "answer_id": i} for i in range(1, 10)]
    answers.append({"answer": "netting", "answer_confidence": "yes", "answer_id": 10})
    common = {"image_id": 458752}
    questions = [
        {**common, "question": "What is this photo taken looking through?", "question_id": 458752000},
        {**common, "question": "Is he a pitcher?", "question_id": 458752001},
    ]
    annotations = [
        {**common, "question_id": 458752001, "answer_type": "yes/no", "multiple_choice_answer": "yes"},
        {**common, "question_id": 458752000, "answer_type": "other", "multiple_choice_answer": "net"},
    ]
    for annotation in annotations:
        annotation["answers"] = answers if annotation["answer_type"] == "other" else [{"answer": "yes"}] * 10
    name = "v2_OpenEnded_mscoco_train2014_questions.json"
    (tmp_path / name).write_text(json.dumps({"questions": questions}))
    (tmp_path / "v2_mscoco_train2014_annotations.json").write_text(json.dumps({"annotations": annotations}))
    (tmp_path / "train2014").mkdir()
    (tmp_path / "train2014/COCO_train2014_000000458752.jpg").write_bytes(b"not opened here")
    return tmp_path


def test_vqav2_joins_questions_and_annotations_by_id(vqav2_folder: Path) -> None:
    first, second = vqav2.rows("train", vqav2_folder)
    assert first.id == "vqav2/train/458752000"
    assert (first.answer, first.category) == ("net", "other")
    assert first.references == ("net",) * 9 + ("netting",)
    assert first.images == (vqav2_folder / "train2014/COCO_train2014_000000458752.jpg",)
    assert (second.answer, second.category, len(second.references)) == ("yes", "yes/no", 10)


def test_vqav2_names_each_missing_file_and_where_it_comes_from(tmp_path: Path) -> None:
    with pytest.raises(MendableError) as error:
        vqav2.check("val", tmp_path)
    for part in ("val2014_questions.json", "val2014_annotations.json", "visualqa.org", "zips/val2014.zip"):
        assert part in str(error.value)
    with pytest.raises(MendableError, match="needs a folder"):
        vqav2.check("train")


@pytest.mark.parametrize("image_id", ["../../secret", -1, None, 1.5, True])
def test_vqav2_pictures_have_numbers_for_names(vqav2_folder: Path, image_id: object) -> None:
    path = vqav2_folder / "v2_OpenEnded_mscoco_train2014_questions.json"
    path.write_text(json.dumps({"questions": [{"image_id": image_id, "question": "?", "question_id": 458752000}]}))
    with pytest.raises(MendableError, match=r"not a whole number|a picture is missing"):
        next(iter(vqav2.rows("train", vqav2_folder)))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not an official VQAv2 file"),
        ("[]", "not an official VQAv2 file"),
        ('{"questions": [{"question_id": 458752000, "question": "?"}]}', "lacks 'image_id'"),
        ('{"questions": [{"question_id": 7, "question": "?", "image_id": 458752}]}', "question 7 has no annotation"),
        ('{"questions": [{"question_id": 458752000, "question": "?", "image_id": 9}]}', "a picture is missing"),
    ],
)
def test_vqav2_says_what_is_wrong_with_a_file(vqav2_folder: Path, text: str, says: str) -> None:
    (vqav2_folder / "v2_OpenEnded_mscoco_train2014_questions.json").write_text(text)
    with pytest.raises(MendableError, match=says):
        list(islice(vqav2.rows("train", vqav2_folder), 1))
