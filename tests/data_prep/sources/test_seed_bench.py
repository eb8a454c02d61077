"""SEED-Bench's questions about pictures from files in the official form (AILab-CVC/SEED-Bench, DATASET.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import official_sets
import pytest
from told import one_left_out, told, without, write_pictures

from data_prep.sources import seed_bench
from mlplora_vlm.errors import MendableError

PICTURE, VIDEO = official_sets.SEED


def test_questions_about_videos_are_no_part_of_it(tmp_path: Path) -> None:
    official_sets.seed_bench(tmp_path)
    [row], rejected = told(seed_bench.rows("image", tmp_path))
    assert not rejected and (row.id, row.category) == ("seed_bench/image/101669", "Instances Counting")
    assert row.question == "How many towels are in the image?\nA. One\nB. Two\nC. Three\nD. Four"
    assert (row.answer, row.references) == ("A", ("A",))
    assert row.images == (tmp_path / "SEED-Bench-image" / "1454426_2591111986",)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MendableError) as error:
        seed_bench.check("image", tmp_path)
    for part in ("SEED-Bench.json", "SEED-Bench-image.zip", "AILab-CVC/SEED-Bench"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("bad", "reason", "says"),
    [
        (without(PICTURE, "data_type"), "wrong type", "neither image nor video"),
        (PICTURE | {"data_type": "Single Image"}, "wrong type", "'Single Image', neither"),
        (PICTURE | {"answer": "E"}, "no annotation", "number 4 of 4 choices"),
        (PICTURE | {"answer": "One"}, "no annotation", "no letter"),
        (without(PICTURE, "choice_c"), "missing field", "lacks 'choice_c'"),
        (PICTURE | {"choice_a": 1}, "wrong type", "not text"),
        (PICTURE | {"question_type_id": 99}, "no annotation", "question type 99"),
        (PICTURE | {"question_id": 7}, "wrong type", "not text"),
        (PICTURE | {"data_id": "none"}, "missing picture", "SEED-Bench-image.zip"),
        (PICTURE | {"data_id": "../secret.jpg"}, "picture outside its folder", "outside"),
        (PICTURE | {"data_id": "linked.jpg"}, "picture outside its folder", "outside"),
        ("no object", "wrong type", "neither"),
    ],
)
def test_a_bad_row_is_left_out_and_no_other(tmp_path: Path, bad: Any, reason: str, says: str) -> None:
    official_sets.seed_bench(tmp_path, [bad, VIDEO, PICTURE])
    write_pictures(tmp_path / "SEED-Bench-image")
    accepted, rejected = one_left_out(seed_bench.rows("image", tmp_path), 2)
    assert len(accepted) == 1 and rejected.reason == reason and says in rejected.detail
    assert rejected.where == f"{tmp_path / 'SEED-Bench.json'}, row 0"


@pytest.mark.parametrize("text", ["", "[]", '{"questions": []}', '{"question_type": {"a": 1}, "questions": [{'])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    official_sets.seed_bench(tmp_path)
    (tmp_path / "SEED-Bench.json").write_text(text)
    with pytest.raises(MendableError, match="not an official SEED-Bench file"):
        list(seed_bench.rows("image", tmp_path))
