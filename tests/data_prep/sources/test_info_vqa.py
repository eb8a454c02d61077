"""InfographicVQA from files in the official form; what it shares with DocVQA is tested there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import official_sets
import pytest
from told import one_left_out, told, without, write_pictures

from data_prep.sources import info_vqa
from mlplora_vlm.errors import MendableError

ROW = official_sets.INFO_VQA[0]


def test_rows_accept_every_answer_and_teach_the_first(tmp_path: Path) -> None:
    official_sets.info_vqa(tmp_path, [ROW, ROW | {"questionId": 98314, "answers": ["20%", "20"]}])
    (first, second), rejected = told(info_vqa.rows("val", tmp_path))
    assert not rejected and (first.id, first.category) == ("info_vqa/val/98313", "infographic")
    assert first.images == (tmp_path / "infographicsvqa_images" / "37313.jpeg",)
    assert (second.answer, second.references) == ("20%", ("20%", "20"))


def test_training_and_validation_have_the_names_of_the_challenge(tmp_path: Path) -> None:
    for split, name in (("train", "infographicsVQA_train_v1.0.json"), ("val", "infographicsVQA_val_v1.0_withQT.json")):
        with pytest.raises(MendableError) as error:
            info_vqa.check(split, tmp_path)
        assert name in str(error.value) and "infographicsvqa_images.tar.gz" in str(error.value)


@pytest.mark.parametrize(
    ("bad", "reason", "says"),
    [
        (without(ROW, "image_local_name"), "missing field", "lacks 'image_local_name'"),
        (ROW | {"image_local_name": "1.jpeg"}, "missing picture", "infographicsvqa_images.tar.gz"),
        (ROW | {"image_local_name": "../secret.jpg"}, "picture outside its folder", "outside"),
        (ROW | {"image_local_name": "linked.jpg"}, "picture outside its folder", "outside"),
        (ROW | {"answers": []}, "wrong type", "not a list of texts"),
        (ROW | {"questionId": "98313"}, "wrong type", "not a whole number"),
        (None, "missing field", "lacks"),
    ],
)
def test_a_bad_row_is_left_out_and_no_other(tmp_path: Path, bad: Any, reason: str, says: str) -> None:
    official_sets.info_vqa(tmp_path, [bad, ROW])
    write_pictures(tmp_path / "infographicsvqa_images")
    accepted, rejected = one_left_out(info_vqa.rows("val", tmp_path), 2)
    assert len(accepted) == 1 and rejected.reason == reason and says in rejected.detail
