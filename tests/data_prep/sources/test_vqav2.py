"""VQAv2 from files in the official form: joined by id, and what becomes of rows and files that are damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from told import one_left_out, told, without, write_json, write_pictures

from data_prep.sources import vqav2
from mlplora_vlm.errors import MendableError

ASKED, ANSWERED = "v2_OpenEnded_mscoco_train2014_questions.json", "v2_mscoco_train2014_annotations.json"
HEAD = {"info": {"version": "2.0"}, "license": {}, "data_type": "mscoco", "data_subtype": "train2014"}
QUESTIONS = [
    {"image_id": 458752, "question": "What is this photo taken looking through?", "question_id": 458752000},
    {"image_id": 458752, "question": "Is he a pitcher?", "question_id": 458752001},
    {"image_id": 9, "question": "What color is the bowl?", "question_id": 9000},
]


def annotation(question: dict[str, Any], kind: str, *answers: str) -> dict[str, Any]:
    given = [
        {"answer": answer, "answer_confidence": "yes", "answer_id": number} for number, answer in enumerate(answers, 1)
    ]
    return {
        "question_type": "what is this",
        "multiple_choice_answer": answers[0],
        "answers": given,
        "image_id": question["image_id"],
        "answer_type": kind,
        "question_id": question["question_id"],
    }


ANNOTATIONS = [  # in another order than the questions
    annotation(QUESTIONS[1], "yes/no", *["yes"] * 10),
    annotation(QUESTIONS[0], "other", *["net"] * 9, "netting"),
    annotation(QUESTIONS[2], "other", *["blue"] * 10),
]


def folder(path: Path, questions: list = QUESTIONS, annotations: list = ANNOTATIONS) -> Path:
    write_json(path / ASKED, {**HEAD, "task_type": "Open-Ended", "questions": questions})
    write_json(path / ANSWERED, {**HEAD, "annotations": annotations})
    write_pictures(path / "train2014", "COCO_train2014_000000458752.jpg", "COCO_train2014_000000000009.jpg")
    return path


def test_questions_and_annotations_are_joined_by_id(tmp_path: Path) -> None:
    accepted, rejected = told(vqav2.rows("train", folder(tmp_path)))
    first, second, third = accepted
    assert not rejected and first.id == "vqav2/train/458752000" and third.answer == "blue"
    assert (first.question, first.answer, first.category) == (QUESTIONS[0]["question"], "net", "other")
    assert first.references == ("net",) * 9 + ("netting",)
    assert first.images == (tmp_path / "train2014/COCO_train2014_000000458752.jpg",)
    assert (second.answer, second.category, len(second.references)) == ("yes", "yes/no", 10)
    assert second.where == f"{tmp_path / ASKED}, row 1"


def test_each_missing_file_is_named_with_where_it_comes_from(tmp_path: Path) -> None:
    with pytest.raises(MendableError) as error:
        vqav2.check("val", tmp_path)
    for part in ("val2014_questions.json", "val2014_annotations.json", "visualqa.org", "zips/val2014.zip"):
        assert part in str(error.value)
    with pytest.raises(MendableError, match="needs a folder"):
        vqav2.check("train")


@pytest.mark.parametrize(
    ("row", "reason", "says"),
    [
        (without(QUESTIONS[1], "image_id"), "missing field", "lacks 'image_id'"),
        (without(QUESTIONS[1], "question"), "missing field", "lacks 'question'"),
        (without(QUESTIONS[1], "question_id"), "missing field", "lacks 'question_id'"),
        ("no object", "missing field", "lacks 'question_id'"),
        (QUESTIONS[1] | {"question": ["what?"]}, "wrong type", "not text"),
        *((QUESTIONS[1] | {"image_id": other}, "wrong type", "not a whole number") for other in ("1", None, 1.5, True)),
        (QUESTIONS[1] | {"question_id": 7}, "no annotation", "question 7 has no annotation"),
        (QUESTIONS[1] | {"image_id": 10}, "missing picture", "COCO_train2014_000000000010.jpg"),
        (QUESTIONS[1] | {"image_id": -1}, "missing picture", "zips/train2014.zip"),
    ],
)
def test_a_bad_question_is_left_out_and_no_other(tmp_path: Path, row: Any, reason: str, says: str) -> None:
    questions = [QUESTIONS[0], row, QUESTIONS[2]]
    accepted, rejected = one_left_out(vqav2.rows("train", folder(tmp_path, questions)), 3)
    assert [row.id for row in accepted] == ["vqav2/train/458752000", "vqav2/train/9000"]
    assert (rejected.reason, rejected.where) == (reason, f"{tmp_path / ASKED}, row 1") and says in rejected.detail


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (without(ANNOTATIONS[1], "answers"), "missing field"),
        (ANNOTATIONS[1] | {"answers": []}, "wrong type"),
        (ANNOTATIONS[1] | {"answers": "net"}, "wrong type"),
        (ANNOTATIONS[1] | {"answers": [{"answer": "net"}, {}]}, "wrong type"),
        (ANNOTATIONS[1] | {"answers": [{"answer": "net"}, "net"]}, "wrong type"),
        (ANNOTATIONS[1] | {"multiple_choice_answer": None}, "wrong type"),
        (without(ANNOTATIONS[1], "answer_type"), "missing field"),
        (without(ANNOTATIONS[1], "question_id"), "no annotation"),
        (ANNOTATIONS[1] | {"question_id": "458752000"}, "no annotation"),
        (7, "no annotation"),
    ],
)
def test_a_bad_annotation_costs_its_own_question(tmp_path: Path, row: Any, reason: str) -> None:
    annotations = [ANNOTATIONS[0], row, ANNOTATIONS[2]]
    accepted, rejected = one_left_out(vqav2.rows("train", folder(tmp_path, annotations=annotations)), 3)
    assert [row.id for row in accepted] == ["vqav2/train/458752001", "vqav2/train/9000"]
    assert (rejected.reason, rejected.where) == (reason, f"{tmp_path / ASKED}, row 0")


def test_a_picture_that_leads_out_is_refused(tmp_path: Path) -> None:
    picture = folder(tmp_path) / "train2014" / "COCO_train2014_000000000009.jpg"
    picture.unlink()
    picture.symlink_to(tmp_path / "secret.jpg")
    accepted, rejected = one_left_out(vqav2.rows("train", tmp_path), 3)
    assert len(accepted) == 2 and rejected.reason == "picture outside its folder"


@pytest.mark.parametrize("name", [ASKED, ANSWERED])
@pytest.mark.parametrize("text", ["{", "[]", "", '{"questions": {}, "annotations": 7}', '{"questions": [1, 2'])
def test_a_damaged_file_is_named(tmp_path: Path, name: str, text: str) -> None:
    (folder(tmp_path) / name).write_text(text)
    with pytest.raises(MendableError, match="not an official VQAv2 file") as error:
        list(vqav2.rows("train", tmp_path))
    assert error.value.where == str(tmp_path / name)
