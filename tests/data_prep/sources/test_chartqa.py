"""ChartQA from files in the official form (vis-nlp/ChartQA at commit 3dab8e8, "ChartQA Dataset")."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data_prep.sources import chartqa
from mlplora_vlm.errors import MendableError

HUMAN = [
    {"imgname": "41699051005347.png", "query": "How many food item is shown in the bar graph?", "label": "14"},
    {"imgname": "41810321001157.png", "query": "Is the sum value of Madagascar more then Fiji?", "label": "No"},
]
AUGMENTED = [{"imgname": "two_col_2954.png", "query": "What game topped the charts?", "label": "League of Legends"}]


def folder(path: Path, human: list = HUMAN) -> Path:
    (path / "test" / "png").mkdir(parents=True)
    for kind, rows in (("human", human), ("augmented", AUGMENTED)):
        (path / "test" / f"test_{kind}.json").write_text(json.dumps(rows))
        for row in rows:
            (path / "test" / "png" / Path(row["imgname"]).name).write_bytes(b"not opened here")
    return path


def test_written_questions_come_first_and_the_category_tells_them_apart(tmp_path: Path) -> None:
    rows = list(chartqa.rows("test", folder(tmp_path)))
    assert [row.id for row in rows] == [
        "chartqa/test/human/000000",
        "chartqa/test/human/000001",
        "chartqa/test/augmented/000000",
    ]
    assert [row.category for row in rows] == ["human", "human", "augmented"]
    assert [(row.question, row.answer) for row in rows] == [(r["query"], r["label"]) for r in [*HUMAN, *AUGMENTED]]
    assert rows[2].images == (tmp_path / "test" / "png" / "two_col_2954.png",)
    assert rows[0].references == ("14",)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MendableError) as error:
        chartqa.check("val", tmp_path)
    for part in ("val_human.json", "val_augmented.json", "val/png", "github.com/vis-nlp/ChartQA"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("change", "says"), [({"label": 14}, "not text"), ({"imgname": "../png/41699051005347.png"}, "lies outside")]
)
def test_a_damaged_row_is_named(tmp_path: Path, change: dict, says: str) -> None:
    with pytest.raises(MendableError, match=says) as error:
        list(chartqa.rows("test", folder(tmp_path, [HUMAN[1], HUMAN[0] | change])))
    assert error.value.where.endswith("test_human.json, row 1")
