"""OK-VQA from files in the official form; what it shares with VQAv2 is tested there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import official_sets
import pytest
from told import one_left_out, told, without

from data_prep.sources import ok_vqa
from mlplora_vlm.errors import MendableError

QUESTIONS, ANNOTATIONS = official_sets.OK_VQA_QUESTIONS, official_sets.OK_VQA_ANNOTATIONS


def test_the_most_frequent_processed_answer_is_taught_and_all_ten_are_references(tmp_path: Path) -> None:
    official_sets.ok_vqa(tmp_path)
    (first, second), rejected = told(ok_vqa.rows("val", tmp_path))
    assert not rejected and (first.id, first.category) == ("ok_vqa/val/2971475", "Sports and Recreation")
    assert first.references == ("race",) * 4 + ("motocross",) * 4 + ("ride",) * 2
    assert first.answer == "race"  # of equals the first
    assert first.images == (tmp_path / "val2014" / "COCO_val2014_000000297147.jpg",)
    assert (second.answer, second.category) == ("vine", "Plants and Animals")


def test_each_missing_file_is_named_with_where_it_comes_from(tmp_path: Path) -> None:
    with pytest.raises(MendableError) as error:
        ok_vqa.check("train", tmp_path)
    for part in ("OpenEnded_mscoco_train2014_questions.json", "mscoco_train2014_annotations.json", "okvqa.allenai.org"):
        assert part in str(error.value)
    assert "zips/train2014.zip" in str(error.value)


@pytest.mark.parametrize(
    ("row", "reason", "says"),
    [
        (ANNOTATIONS[0] | {"question_type": "twelve"}, "wrong type", "'twelve', none of one, two"),
        (without(ANNOTATIONS[0], "question_type"), "missing field", "lacks 'question_type'"),
        (ANNOTATIONS[0] | {"answers": []}, "wrong type", "not a list of texts"),
        (ANNOTATIONS[0] | {"answers": [{"raw_answer": "racing"}] * 10}, "wrong type", "not a list of texts"),
        (without(ANNOTATIONS[0], "answers"), "missing field", "lacks 'answers'"),
        (without(ANNOTATIONS[0], "question_id"), "no annotation", "mscoco_val2014_annotations.json"),
    ],
)
def test_a_bad_annotation_costs_its_own_question(tmp_path: Path, row: Any, reason: str, says: str) -> None:
    official_sets.ok_vqa(tmp_path, annotations=[row, ANNOTATIONS[1]])
    accepted, rejected = one_left_out(ok_vqa.rows("val", tmp_path), 2)
    assert [row.id for row in accepted] == ["ok_vqa/val/3397615"]
    assert rejected.reason == reason and says in rejected.detail


def test_a_bad_question_is_left_out_and_no_other(tmp_path: Path) -> None:
    official_sets.ok_vqa(tmp_path, questions=[QUESTIONS[0] | {"image_id": 1}, QUESTIONS[1]])
    accepted, rejected = one_left_out(ok_vqa.rows("val", tmp_path), 2)
    assert len(accepted) == 1 and rejected.reason == "missing picture" and "val2014.zip" in rejected.detail
