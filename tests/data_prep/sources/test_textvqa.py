"""TextVQA from files in the official form: the example of the authors' data card (see data_prep/sources/textvqa.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import official_sets
import pytest
from told import one_left_out, told, without, write_json, write_pictures

from data_prep.sources import textvqa
from mlplora_vlm.errors import MendableError

ANSWERS = ["simon clancy", "simon ciancy", *["simon clancy"] * 2, "the brand is bayard", *["simon clancy"] * 5]


def row(number: int, answers: list[str]) -> dict[str, Any]:
    return {
        "question": "who is this copyrighted by?",
        "image_id": "00685bc495504d61",
        "image_classes": ["Vehicle", "Tower", "Airplane", "Aircraft"],
        "flickr_original_url": "https://farm2.staticflickr.com/5067/5620759429_4ea686e643_o.jpg",
        "flickr_300k_url": "https://c5.staticflickr.com/6/5067/5620759429_f43a649fb5_z.jpg",
        "image_width": 786,
        "image_height": 1024,
        "answers": answers,
        "question_tokens": ["who", "is", "this", "copyrighted", "by"],
        "question_id": number,
        "set_name": "train",
    }


ROWS = [row(3, ANSWERS), row(4, ["7", "seven"] * 5), row(5, ["dakota"] * 10)]


def folder(path: Path, rows: list = ROWS) -> Path:
    head = {"dataset_type": "train", "dataset_name": "textvqa", "dataset_version": "0.5.1"}
    write_json(path / "TextVQA_0.5.1_train.json", {**head, "data": rows})
    write_pictures(path / "train_images", "00685bc495504d61.jpg")
    return path


def test_the_most_frequent_answer_is_taught_and_all_ten_are_references(tmp_path: Path) -> None:
    (first, second, _), rejected = told(textvqa.rows("train", folder(tmp_path)))
    assert not rejected
    assert (first.id, first.question) == ("textvqa/train/3", "who is this copyrighted by?")
    assert (first.answer, first.references, first.category) == ("simon clancy", tuple(ANSWERS), "scene text")
    assert first.images == (tmp_path / "train_images" / "00685bc495504d61.jpg",)
    assert second.answer == "7"  # of equals, the first
    assert second.where == f"{tmp_path / 'TextVQA_0.5.1_train.json'}, row 1"


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MendableError) as error:
        textvqa.check("val", tmp_path)
    for part in ("TextVQA_0.5.1_val.json", "textvqa.org", "train_images is missing", "train_val_images.zip"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("bad", "reason", "says"),
    [
        (without(ROWS[1], "answers"), "missing field", "lacks 'answers'"),
        (ROWS[1] | {"answers": []}, "wrong type", "not a list of texts"),
        (ROWS[1] | {"answers": [7] * 10}, "wrong type", "not a list of texts"),
        (ROWS[1] | {"question_id": "4"}, "wrong type", "not a whole number"),
        (without(ROWS[1], "question"), "missing field", "lacks 'question'"),
        (ROWS[1] | {"image_id": 685}, "wrong type", "not text"),
        (ROWS[1] | {"image_id": "0000000000000000"}, "missing picture", "train_val_images.zip"),
        (ROWS[1] | {"image_id": "../secret"}, "picture outside its folder", "outside"),
        (ROWS[1] | {"image_id": "linked"}, "picture outside its folder", "outside"),
        ("no object", "missing field", "lacks"),
    ],
)
def test_a_bad_row_is_left_out_and_no_other(tmp_path: Path, bad: Any, reason: str, says: str) -> None:
    accepted, rejected = one_left_out(textvqa.rows("train", folder(tmp_path, [ROWS[0], bad, ROWS[2]])), 3)
    assert [row.id for row in accepted] == ["textvqa/train/3", "textvqa/train/5"]
    assert rejected.reason == reason and says in rejected.detail
    assert rejected.where == f"{tmp_path / 'TextVQA_0.5.1_train.json'}, row 1"


@pytest.mark.parametrize("text", ["", "[]", '{"data": 3}', '{"data": [{"question": "who'])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    path = folder(tmp_path) / "TextVQA_0.5.1_train.json"
    path.write_text(text)
    with pytest.raises(MendableError, match="not an official TextVQA file") as error:
        list(textvqa.rows("train", tmp_path))
    assert error.value.where == str(path)


def test_tokens_stand_behind_the_question_which_keeps_its_id(tmp_path: Path) -> None:
    official_sets.textvqa(tmp_path)
    (plain, _), _ = told(textvqa.rows("val", tmp_path))
    (first, second), rejected = told(textvqa.rows("val_ocr", tmp_path))
    assert not rejected and (first.id, first.references) == (plain.id, plain.references)
    assert plain.question == "what is the brand of this camera?"
    assert first.question == (
        "What is the brand of this camera?\nReference OCR token: DAKOTA, DIGITAL, Single-Use, Camera, Pire, digitat"
    )
    assert second.question.strip().endswith("\nReference OCR token:")


@pytest.mark.parametrize(
    "bad",
    [
        {"image_id": "003a8ae2ef43b901"},
        {"image_id": "003a8ae2ef43b901", "ocr_tokens": ["a", 7]},
        {"image_id": 3, "ocr_tokens": []},
        "no object",
    ],
)
def test_a_picture_without_tokens_costs_its_own_questions(tmp_path: Path, bad: Any) -> None:
    official_sets.textvqa(tmp_path, [bad, official_sets.OCR[1]])
    accepted, rejected = one_left_out(textvqa.rows("val_ocr", tmp_path), 2)
    assert [row.id for row in accepted] == ["textvqa/val/34603"]
    assert rejected.reason == "no annotation" and textvqa.OCR in rejected.detail


def test_the_tokens_file_is_asked_for_where_it_is_read(tmp_path: Path) -> None:
    official_sets.textvqa(tmp_path)
    (tmp_path / textvqa.OCR).unlink()
    textvqa.check("val", tmp_path)
    with pytest.raises(MendableError, match=r"TextVQA_Rosetta_OCR_v0\.2_val\.json is missing"):
        textvqa.check("val_ocr", tmp_path)
