"""MMBench from a table in the official form: each question once, or with every rotation of its choices."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import official_sets
import pytest
from told import one_left_out, told

from data_prep.images import open_image
from data_prep.sources import mmbench
from eval_harness.figures import group
from mlplora_vlm.errors import MendableError

FIRST, SECOND, ROTATION = official_sets.MMBENCH


def changed(column: str, cell: str) -> list[str]:
    row = [*FIRST]
    row[official_sets.MMBENCH_COLUMNS.index(column)] = cell
    return row


def test_each_question_is_asked_once_with_its_hint_first(tmp_path: Path) -> None:
    official_sets.mmbench(tmp_path)
    (first, second), rejected = told(mmbench.rows("dev", tmp_path))
    assert not rejected and (first.id, second.id) == ("mmbench/dev/241", "mmbench/dev/252")
    assert first.question.endswith('\nA. A man\nB. A "dog"\nC. A cat\nD. A car')
    assert (first.answer, first.references, first.category) == ("C", ("C",), "image_style")
    assert second.question == "The map shows\na country.\nDoes the map show a state?\nA. yes\nB. no"
    assert open_image(first.images[0]).size == (24, 16)
    assert first.where == f"{tmp_path / 'mmbench_dev_20230712.tsv'}:2"


def test_rotations_hang_together_and_the_answer_moves_with_its_choice(tmp_path: Path) -> None:
    official_sets.mmbench(tmp_path)
    rows, rejected = told(mmbench.rows("dev_circular", tmp_path))
    assert not rejected and Counter(group(row.id) for row in rows) == {
        "mmbench/dev/241": 4,
        "mmbench/dev/252": 2,
    }
    assert [row.answer for row in rows] == ["C", "B", "A", "D", "A", "B"]
    for row in rows:
        right = next(line for line in row.question.splitlines() if line.startswith(f"{row.answer}. "))
        assert right[3:] == ("A cat" if "/241/" in row.id else "yes")
    assert len({row.question for row in rows}) == len({row.id for row in rows}) == 6
    assert rows[1].question.endswith('\nA. A "dog"\nB. A cat\nC. A car\nD. A man')  # as the file's own rotation


def test_a_picture_of_any_size_is_one_cell(tmp_path: Path) -> None:
    padded = changed("image", FIRST[official_sets.MMBENCH_COLUMNS.index("image")] + " " * 300_000)
    official_sets.mmbench(tmp_path, [padded])
    [row], rejected = told(mmbench.rows("dev", tmp_path))
    assert not rejected and open_image(row.images[0]).size == (24, 16)


def test_the_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MendableError, match=r"mmbench_dev_20230712\.tsv is missing") as error:
        mmbench.check("dev", tmp_path)
    assert "download.openmmlab.com" in error.value.fix


@pytest.mark.parametrize(
    ("bad", "reason", "says"),
    [
        (changed("answer", "E"), "no annotation", "number 4 of 4 choices"),
        (changed("answer", "AB"), "no annotation", "no letter"),
        (changed("answer", ""), "missing field", "'answer' is empty"),
        (changed("question", "nan"), "missing field", "'question' is empty"),
        (changed("category", ""), "missing field", "'category' is empty"),
        (changed("A", ""), "no annotation", "of 0 choices"),
        (changed("C", "nan"), "no annotation", "number 2 of 2 choices"),
        (changed("image", "no base64!"), "unreadable picture", "not base64"),
        (changed("image", ""), "missing field", "'image' is empty"),
        (changed("index", "one"), "wrong type", "not a whole number"),
        (FIRST[:5], "broken line", "5 cells under 14 columns"),
    ],
)
def test_a_bad_row_is_left_out_and_no_other(tmp_path: Path, bad: list[str], reason: str, says: str) -> None:
    official_sets.mmbench(tmp_path, [bad, SECOND, ROTATION])
    accepted, rejected = one_left_out(mmbench.rows("dev", tmp_path), 2)
    assert [row.id for row in accepted] == ["mmbench/dev/252"]
    assert rejected.reason == reason and says in rejected.detail
    _, rejections = told(mmbench.rows("dev_circular", tmp_path))
    assert rejections and {row.reason for row in rejections} == {reason}


@pytest.mark.parametrize("text", ["", "index\tquestion\n", "a,a\n1,2\n"])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "mmbench_dev_20230712.tsv").write_text(text)
    with pytest.raises(MendableError, match="not an official MMBench file"):
        list(mmbench.rows("dev", tmp_path))
