"""NLVR2 from files in the official form (lil-lab/nlvr at commit 1892484, nlvr2/data: JSON lines)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import official_sets
import pytest
from told import one_left_out, told, without, write_pictures

from data_prep.sources import nlvr2
from mlplora_vlm.errors import MendableError

FALSE, TRUE = official_sets.NLVR2


def test_a_statement_has_the_left_picture_and_the_right_one(tmp_path: Path) -> None:
    official_sets.nlvr2(tmp_path)
    (false, true), rejected = told(nlvr2.rows("test1", tmp_path))
    assert not rejected and false.id == "nlvr2/test1/test1-0-1-0"
    assert (false.question, false.answer, false.category) == ("There is an empty glass.", "false", "statement")
    assert false.images == tuple(tmp_path / "test1" / f"test1-0-1-img{side}.png" for side in (0, 1))
    assert (true.answer, true.references) == ("true", ("true",))


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MendableError) as error:
        nlvr2.check("dev", tmp_path)
    for part in ("dev.json", "dev_img.zip", "lil-lab/nlvr"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("bad", "reason", "says"),
    [
        (without(FALSE, "label"), "missing field", "lacks 'label'"),
        (FALSE | {"label": False}, "wrong type", "not text"),
        (FALSE | {"label": "maybe"}, "no annotation", "neither True nor False"),
        (FALSE | {"sentence": 7}, "wrong type", "not text"),
        (FALSE | {"identifier": "test1-9-9-0"}, "missing picture", "ask for the pictures"),
        (FALSE | {"identifier": "../test1-0-1-0"}, "picture outside its folder", "outside"),
        (FALSE | {"identifier": "linked-0"}, "picture outside its folder", "outside"),
        (7, "missing field", "lacks"),
    ],
)
def test_a_bad_row_is_left_out_and_no_other(tmp_path: Path, bad: Any, reason: str, says: str) -> None:
    official_sets.nlvr2(tmp_path, [bad, TRUE])
    write_pictures(tmp_path / "test1")
    (tmp_path / "test1" / "linked-img0.png").symlink_to(tmp_path / "secret.jpg")
    accepted, rejected = one_left_out(nlvr2.rows("test1", tmp_path), 2)
    assert len(accepted) == 1 and rejected.reason == reason and says in rejected.detail
