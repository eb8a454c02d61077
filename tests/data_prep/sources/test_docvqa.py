"""DocVQA from files in the official form (docvqa.org, task 1: train_v1.0_withQT.json)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from told import one_left_out, told, without, write_json, write_pictures

from data_prep.sources import docvqa
from mlplora_vlm.errors import MendableError


def row(number: int, question: str, *answers: str) -> dict[str, Any]:
    return {
        "questionId": number,
        "question": question,
        "question_types": ["handwritten", "form"],
        "image": "documents/xnbl0037_1.png",
        "docId": 279,
        "ucsf_document_id": "xnbl0037",
        "ucsf_document_page_no": "1",
        "answers": [*answers],
        "data_split": "train",
    }


ROWS = [
    row(337, "what is the date mentioned in this letter?", "1/8/93", "1/8/1993"),
    row(338, "to whom?", "P. Carter"),
    row(339, "from whom?", "p. carter", "Paul D. Carter"),
]


def folder(path: Path, rows: list) -> Path:
    head = {"dataset_name": "docvqa", "dataset_version": "1.0", "dataset_split": "train"}
    write_json(path / "spdocvqa_qas" / "train_v1.0_withQT.json", {**head, "data": rows})
    write_pictures(path / "spdocvqa_images", "xnbl0037_1.png")
    return path


def test_rows_accept_every_answer_and_teach_the_first(tmp_path: Path) -> None:
    (first, second, _), rejected = told(docvqa.rows("train", folder(tmp_path, ROWS)))
    assert not rejected
    assert (first.id, first.question) == ("docvqa/train/337", "what is the date mentioned in this letter?")
    assert (first.answer, first.references) == ("1/8/93", ("1/8/93", "1/8/1993"))
    assert first.images == second.images == (tmp_path / "spdocvqa_images" / "xnbl0037_1.png",)
    assert (second.id, second.category) == ("docvqa/train/338", "document")
    assert second.where == f"{tmp_path / 'spdocvqa_qas' / 'train_v1.0_withQT.json'}, row 1"


def test_missing_archives_are_named(tmp_path: Path) -> None:
    with pytest.raises(MendableError) as error:
        docvqa.check("val", tmp_path)
    for part in ("val_v1.0_withQT.json", "spdocvqa_qas.zip", "spdocvqa_images.tar.gz", "rrc.cvc.uab.es"):
        assert part in str(error.value)


def test_the_test_split_has_no_answers(tmp_path: Path) -> None:
    with pytest.raises(MendableError, match="no split 'test'"):
        docvqa.check("test", tmp_path)


@pytest.mark.parametrize(
    ("bad", "reason", "says"),
    [
        (ROWS[1] | {"answers": []}, "wrong type", "not a list of texts"),
        (ROWS[1] | {"answers": ["P.", None]}, "wrong type", "not a list of texts"),
        (without(ROWS[1], "answers"), "missing field", "lacks 'answers'"),
        (ROWS[1] | {"questionId": "1"}, "wrong type", "number"),
        (without(ROWS[1], "question"), "missing field", "lacks 'question'"),
        (ROWS[1] | {"image": "documents/none.png"}, "missing picture", "spdocvqa_images.tar.gz"),
        (ROWS[1] | {"image": "documents/"}, "missing picture", "names no file"),
        (ROWS[1] | {"image": "../secret.jpg"}, "picture outside its folder", "outside"),
        (ROWS[1] | {"image": "documents/../../secret.jpg"}, "picture outside its folder", "outside"),
        (ROWS[1] | {"image": "documents/linked.png"}, "picture outside its folder", "outside"),
        ([], "missing field", "lacks"),
    ],
)
def test_a_bad_row_is_left_out_and_no_other(tmp_path: Path, bad: Any, reason: str, says: str) -> None:
    accepted, rejected = one_left_out(docvqa.rows("train", folder(tmp_path, [ROWS[0], bad, ROWS[2]])), 3)
    assert [row.id for row in accepted] == ["docvqa/train/337", "docvqa/train/339"]
    assert rejected.reason == reason and says in rejected.detail
    assert rejected.where.endswith("train_v1.0_withQT.json, row 1")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = folder(tmp_path, ROWS) / "spdocvqa_qas" / "train_v1.0_withQT.json"
    path.write_text('{"data": {}}')
    with pytest.raises(MendableError, match="not an official DocVQA file") as error:
        list(docvqa.rows("train", tmp_path))
    assert error.value.where == str(path)
