"""MME from folders in the official form: both layouts, pairs of questions, and what is wrong with a file."""

from __future__ import annotations

import shutil
from pathlib import Path

import official_sets
import pytest
from told import told

from data_prep.sources import mme
from eval_harness.figures import grouped
from mlplora_vlm.errors import MendableError


def folder(path: Path) -> Path:
    official_sets.mme(path)
    return path / "MME_Benchmark_release_version"


def test_a_picture_has_two_questions_whose_ids_agree_up_to_the_last_slash(tmp_path: Path) -> None:
    root = folder(tmp_path)
    rows, rejected = told(mme.rows("all", tmp_path))
    assert not rejected and len(rows) == 28
    assert list(dict.fromkeys(row.category for row in rows)) == [*mme.PERCEPTION, *mme.COGNITION]
    pairs = grouped([{"id": row.id, "answer": row.answer} for row in rows])
    assert len(pairs) == 14 and all([row["answer"] for row in pair] == ["yes", "no"] for pair in pairs.values())
    first, poster = rows[0], next(row for row in rows if row.category == "posters")
    assert (first.id, first.question) == ("mme/existence/0001/0", "Is there a existence in this image?")
    assert first.images == (root / "existence" / "0001.png",)
    assert (poster.id, poster.images[0]) == ("mme/posters/10002/0", root / "posters" / "images" / "10002.jpg")
    assert rows[1].question == "Is there a 鸟?" and rows[1].where == f"{root / 'existence' / '0001.txt'}:2"


def test_the_archive_with_one_folder_more_is_read_too(tmp_path: Path) -> None:
    root = folder(tmp_path)
    shutil.move(root, tmp_path / "MME_Benchmark")
    root.mkdir()
    shutil.move(tmp_path / "MME_Benchmark", root)
    rows, rejected = told(mme.rows("all", tmp_path))
    assert not rejected and len(rows) == 28


def test_the_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(MendableError, match="MME_Benchmark_release_version is missing") as error:
        mme.check("all", tmp_path)
    assert "MME_Benchmark_release_version.zip" in error.value.fix


@pytest.mark.parametrize(
    ("text", "reason", "says"),
    [
        ("Is it? Please answer yes or no.\tYes\n", "no annotation", "1 questions, not two"),
        ("a?\tYes\nb?\tNo\nc?\tNo\n", "no annotation", "3 questions"),
        ("", "no annotation", "0 questions"),
        ("a?\tYes\nb?\tmaybe\n", "broken line", "line 2"),
        ("a? Yes\nb?\tNo\n", "broken line", "line 1"),
        ("\tYes\nb?\tNo\n", "broken line", "line 1"),
    ],
)
def test_a_bad_file_costs_its_own_questions(tmp_path: Path, text: str, reason: str, says: str) -> None:
    path = folder(tmp_path) / "count" / "0001.txt"
    path.write_text(text)
    accepted, [rejected] = told(mme.rows("all", tmp_path))
    assert len(accepted) == 26 and (rejected.where, rejected.reason) == (str(path), reason)
    assert says in rejected.detail


def test_what_is_no_utf_8_and_a_missing_or_foreign_picture_cost_their_own_questions(tmp_path: Path) -> None:
    root = folder(tmp_path)
    (root / "count" / "0001.txt").write_bytes(b"\xff\tYes\n")
    (root / "color" / "0001.png").unlink()
    (root / "OCR" / "0001.png").unlink()
    (root / "OCR" / "0001.png").symlink_to(root / "position" / "0001.png")
    accepted, rejected = told(mme.rows("all", tmp_path))
    assert len(accepted) == 22
    assert [row.reason for row in rejected] == ["invalid text", "missing picture", "picture outside its folder"]


def test_a_subtask_without_questions_is_named(tmp_path: Path) -> None:
    shutil.rmtree(folder(tmp_path) / "code_reasoning")
    with pytest.raises(MendableError, match="not an official MME file") as error:
        list(mme.rows("all", tmp_path))
    assert error.value.where.endswith("code_reasoning")
