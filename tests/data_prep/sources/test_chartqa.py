"""ChartQA from files in the official form (vis-nlp/ChartQA at commit 3dab8e8, "ChartQA Dataset")."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from told import one_left_out, told, without, write_json, write_pictures

from data_prep.sources import chartqa
from mlplora_vlm.errors import MendableError

HUMAN = [
    {"imgname": "41699051005347.png", "query": "How many food item is shown in the bar graph?", "label": "14"},
    {"imgname": "41810321001157.png", "query": "Is the sum value of Madagascar more then Fiji?", "label": "No"},
]
AUGMENTED = [{"imgname": "two_col_2954.png", "query": "What game topped the charts?", "label": "League of Legends"}]


def folder(path: Path, human: list = HUMAN) -> Path:
    write_json(path / "test" / "test_human.json", human)
    write_json(path / "test" / "test_augmented.json", AUGMENTED)
    write_pictures(path / "test" / "png", *(row["imgname"] for row in [*HUMAN, *AUGMENTED]))
    return path


def test_written_questions_come_first_and_the_category_tells_them_apart(tmp_path: Path) -> None:
    rows, rejected = told(chartqa.rows("test", folder(tmp_path)))
    assert not rejected and [row.id for row in rows] == [
        "chartqa/test/human/000000",
        "chartqa/test/human/000001",
        "chartqa/test/augmented/000000",
    ]
    assert [row.category for row in rows] == ["human", "human", "augmented"]
    assert [(row.question, row.answer) for row in rows] == [(r["query"], r["label"]) for r in [*HUMAN, *AUGMENTED]]
    assert rows[2].images == (tmp_path / "test" / "png" / "two_col_2954.png",)
    assert rows[0].references == ("14",) and rows[2].where.endswith("test_augmented.json, row 0")


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MendableError) as error:
        chartqa.check("val", tmp_path)
    for part in ("val_human.json", "val_augmented.json", "val/png", "github.com/vis-nlp/ChartQA"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("bad", "reason", "says"),
    [
        (HUMAN[0] | {"label": 14}, "wrong type", "not text"),
        (without(HUMAN[0], "query"), "missing field", "lacks 'query'"),
        (HUMAN[0] | {"imgname": "none.png"}, "missing picture", "github.com/vis-nlp/ChartQA"),
        (HUMAN[0] | {"imgname": "../png/41699051005347.png"}, "picture outside its folder", "outside"),
        (HUMAN[0] | {"imgname": "linked.png"}, "picture outside its folder", "outside"),
        (None, "missing field", "lacks"),
    ],
)
def test_a_bad_row_is_left_out_and_changes_no_other(tmp_path: Path, bad: Any, reason: str, says: str) -> None:
    accepted, rejected = one_left_out(chartqa.rows("test", folder(tmp_path, [HUMAN[0], bad, HUMAN[1]])), 4)
    assert [row.id.removeprefix("chartqa/test/") for row in accepted] == [
        "human/000000",
        "human/000002",
        "augmented/000000",
    ]
    assert rejected.reason == reason and says in rejected.detail
    assert rejected.where.endswith("test_human.json, row 1")


@pytest.mark.parametrize("kind", chartqa.KINDS)
def test_a_damaged_file_is_named(tmp_path: Path, kind: str) -> None:
    path = folder(tmp_path) / "test" / f"test_{kind}.json"
    path.write_text('[{"imgname": "')
    with pytest.raises(MendableError, match="not an official ChartQA file") as error:
        list(chartqa.rows("test", tmp_path))
    assert error.value.where == str(path)
