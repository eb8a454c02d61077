"""DocVQA from files in the official form (docvqa.org, task 1: train_v1.0_withQT.json)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data_prep.sources import docvqa
from mlplora_vlm.errors import MendableError

ROWS = [
    {
        "questionId": 337,
        "question": "what is the date mentioned in this letter?",
        "question_types": ["handwritten", "form"],
        "image": "documents/xnbl0037_1.png",
        "docId": 279,
        "ucsf_document_id": "xnbl0037",
        "ucsf_document_page_no": "1",
        "answers": ["1/8/93", "1/8/1993"],
        "data_split": "train",
    },
    {"questionId": 338, "question": "to whom?", "image": "documents/xnbl0037_1.png", "answers": ["P. Carter"]},
]


def folder(path: Path, rows: list) -> Path:
    (path / "spdocvqa_qas").mkdir()
    (path / "spdocvqa_images").mkdir()
    head = {"dataset_name": "docvqa", "dataset_version": "1.0", "dataset_split": "train"}
    (path / "spdocvqa_qas" / "train_v1.0_withQT.json").write_text(json.dumps({**head, "data": rows}))
    (path / "spdocvqa_images" / "xnbl0037_1.png").write_bytes(b"not opened here")
    return path


def test_rows_accept_every_answer_and_teach_the_first(tmp_path: Path) -> None:
    first, second = docvqa.rows("train", folder(tmp_path, ROWS))
    assert (first.id, first.question) == ("docvqa/train/337", "what is the date mentioned in this letter?")
    assert (first.answer, first.references) == ("1/8/93", ("1/8/93", "1/8/1993"))
    assert first.images == second.images == (tmp_path / "spdocvqa_images" / "xnbl0037_1.png",)
    assert second.id == "docvqa/train/338"


def test_missing_archives_are_named(tmp_path: Path) -> None:
    with pytest.raises(MendableError) as error:
        docvqa.check("val", tmp_path)
    for part in ("val_v1.0_withQT.json", "spdocvqa_qas.zip", "spdocvqa_images.tar.gz", "rrc.cvc.uab.es"):
        assert part in str(error.value)


def test_the_test_split_has_no_answers(tmp_path: Path) -> None:
    with pytest.raises(MendableError, match="no split 'test'"):
        docvqa.check("test", tmp_path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"answers": []}, "not a list of texts"),
        ({"image": "../x.png"}, "lies outside"),
        ({"questionId": "1"}, "number"),
    ],
)
def test_a_damaged_row_is_named(tmp_path: Path, change: dict, says: str) -> None:
    with pytest.raises(MendableError, match=says) as error:
        list(docvqa.rows("train", folder(tmp_path, [ROWS[1], ROWS[0] | change])))
    assert error.value.where.endswith("train_v1.0_withQT.json, row 1")
