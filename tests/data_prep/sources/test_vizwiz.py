"""VizWiz-VQA from files in the official form (the entry that mmpretrain's loader shows)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import official_sets
import pytest
from told import one_left_out, told, without, write_pictures

from data_prep.sources import vizwiz
from mlplora_vlm.errors import MendableError

ROWS = official_sets.VIZWIZ


def test_the_most_frequent_answer_is_taught_and_all_ten_are_references(tmp_path: Path) -> None:
    official_sets.vizwiz(tmp_path)
    (first, second), rejected = told(vizwiz.rows("val", tmp_path))
    assert not rejected and first.id == "vizwiz/val/VizWiz_val_00000001"
    assert (first.answer, first.category, len(first.references)) == ("night time", "other", 10)
    assert first.references[:2] == ("no", "unanswerable")
    assert first.images == (tmp_path / "val" / "VizWiz_val_00000001.jpg",)
    assert (second.answer, second.category) == ("unanswerable", "unanswerable")
    assert second.where == f"{tmp_path / 'Annotations' / 'val.json'}, row 1"


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MendableError) as error:
        vizwiz.check("train", tmp_path)
    for part in ("Annotations/train.json", "vqa_data/Annotations.zip", "images/train.zip"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("bad", "reason", "says"),
    [
        (without(ROWS[0], "answers"), "missing field", "lacks 'answers'"),
        (ROWS[0] | {"answers": []}, "wrong type", "empty list"),
        (ROWS[0] | {"answers": "no"}, "wrong type", "not a list"),
        (ROWS[0] | {"answers": ["no"] * 10}, "missing field", "lacks 'answer'"),
        (ROWS[0] | {"answers": [{"answer": 7}]}, "wrong type", "not text"),
        (without(ROWS[0], "answer_type"), "missing field", "lacks 'answer_type'"),
        (ROWS[0] | {"question": None}, "wrong type", "not text"),
        (ROWS[0] | {"image": "VizWiz_val_00000009.jpg"}, "missing picture", "images/val.zip"),
        (ROWS[0] | {"image": "../secret.jpg"}, "picture outside its folder", "outside"),
        (ROWS[0] | {"image": "linked.jpg"}, "picture outside its folder", "outside"),
        (7, "missing field", "lacks"),
    ],
)
def test_a_bad_row_is_left_out_and_no_other(tmp_path: Path, bad: Any, reason: str, says: str) -> None:
    official_sets.vizwiz(tmp_path, [bad, ROWS[1]])
    write_pictures(tmp_path / "val")
    accepted, rejected = one_left_out(vizwiz.rows("val", tmp_path), 2)
    assert [row.id for row in accepted] == ["vizwiz/val/VizWiz_val_00000002"]
    assert rejected.reason == reason and says in rejected.detail


@pytest.mark.parametrize("text", ["", "[]", '{"data": 3}', '[{"question": "who'])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    official_sets.vizwiz(tmp_path)
    (tmp_path / "Annotations" / "val.json").write_text(text)
    with pytest.raises(MendableError, match="not an official VizWiz-VQA file"):
        list(vizwiz.rows("val", tmp_path))
