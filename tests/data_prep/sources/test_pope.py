"""POPE from files in the official form (RUCAIBox/POPE at commit 3df3ba1, output/coco: JSON lines)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import official_sets
import pytest
from told import one_left_out, told, without, write_pictures

from data_prep.sources import pope
from mlplora_vlm.errors import MendableError

YES, NO = official_sets.POPE


@pytest.mark.parametrize("split", pope.SPLITS)
def test_each_subset_is_a_split(tmp_path: Path, split: str) -> None:
    official_sets.pope(tmp_path)
    (yes, no), rejected = told(pope.rows(split, tmp_path))
    assert not rejected and (yes.id, no.id) == (f"pope/{split}/1", f"pope/{split}/2")
    assert (yes.question, yes.answer, yes.category) == ("Is there a snowboard in the image?", "yes", "present")
    assert (no.answer, no.references, no.category) == ("no", ("no",), "absent")
    assert yes.images == (tmp_path / "val2014" / "COCO_val2014_000000310196.jpg",)
    assert no.where == f"{tmp_path / f'coco_pope_{split}.json'}:2"


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MendableError) as error:
        pope.check("popular", tmp_path)
    for part in ("coco_pope_popular.json", "RUCAIBox/POPE", "val2014.zip"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("bad", "reason", "says"),
    [
        (without(YES, "label"), "missing field", "lacks 'label'"),
        (YES | {"label": "maybe"}, "no annotation", "neither yes nor no"),
        (YES | {"question_id": "1"}, "wrong type", "not a whole number"),
        (YES | {"text": None}, "wrong type", "not text"),
        (YES | {"image": "none.jpg"}, "missing picture", "val2014.zip"),
        (YES | {"image": "../secret.jpg"}, "picture outside its folder", "outside"),
        (YES | {"image": "linked.jpg"}, "picture outside its folder", "outside"),
        (3, "missing field", "lacks"),
    ],
)
def test_a_bad_row_is_left_out_and_no_other(tmp_path: Path, bad: Any, reason: str, says: str) -> None:
    official_sets.pope(tmp_path, [bad, NO])
    write_pictures(tmp_path / "val2014")
    accepted, rejected = one_left_out(pope.rows("random", tmp_path), 2)
    assert len(accepted) == 1 and rejected.reason == reason and says in rejected.detail


def test_a_broken_line_is_a_rejection_and_a_file_without_rows_is_named(tmp_path: Path) -> None:
    official_sets.pope(tmp_path)
    path = tmp_path / "coco_pope_random.json"
    path.write_text(path.read_text() + '{"question_id": 3, "ima')
    accepted, rejected = one_left_out(pope.rows("random", tmp_path), 3)
    assert len(accepted) == 2 and rejected.reason == "broken line"
    for text in ("", "\n", "{"):
        path.write_text(text)
        with pytest.raises(MendableError, match="not an official POPE file"):
            list(pope.rows("random", tmp_path))
