"""Tables of one's own: the same rows from CSV, TSV, JSON lines and JSON, and what becomes of those that do not fit."""

from __future__ import annotations

import csv
import json
import tracemalloc
from itertools import islice
from pathlib import Path

import pytest

from data_prep.example import Example
from data_prep.rows import Rejected
from data_prep.section import SourceSection
from data_prep.sources import check_source, source_rows, table
from mlplora_vlm.errors import MendableError

ROWS = [
    {"image": "a.png", "question": "What color?", "answer": "red, or\n“orange”"},
    {"image": "sub/b.png", "question": "How many?", "answer": "2"},
    {"image": "", "question": "And without a picture?", "answer": "yes"},
]


def folder(path: Path) -> Path:
    (path / "sub").mkdir(exist_ok=True)
    for name in ("a.png", "sub/b.png"):
        (path / name).write_bytes(b"not opened here")
    return path


def write(path: Path, name: str, rows: list[dict]) -> Path:
    folder(path)
    if name.endswith((".csv", ".tsv")):
        with (path / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if name.endswith(".tsv") else ",")
            writer.writeheader()
            writer.writerows(rows)
    elif name.endswith(".jsonl"):
        (path / name).write_text("\n".join(map(json.dumps, rows)))
    else:
        (path / name).write_text(json.dumps(rows, indent=1))
    return path


@pytest.mark.parametrize("name", ["train.csv", "train.tsv", "train.jsonl", "train.json"])
def test_the_same_rows_in_every_kind_of_file(tmp_path: Path, name: str) -> None:
    rows = list(table.rows("train", write(tmp_path, name, ROWS)))
    assert [(row.question, row.answer) for row in rows] == [(each["question"], each["answer"]) for each in ROWS]
    assert [row.images for row in rows] == [(tmp_path / "a.png",), (tmp_path / "sub/b.png",), ()]
    assert [row.id for row in rows] == [f"table/train/{number:06d}" for number in range(3)]
    assert [row.category for row in rows] == ["picture", "picture", "text"]
    assert all(row.where.startswith(str(tmp_path / name)) and not row.repairs for row in rows)


def test_captions_are_rows_without_a_question(tmp_path: Path) -> None:
    write(tmp_path, "train.csv", [{"file_name": "a.png", "caption": "a red square"}])
    (row,) = table.rows("train", tmp_path)
    assert (row.question, row.answer, row.references) == ("", "a red square", ("a red square",))


def test_columns_and_pictures_are_as_the_recipe_says(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    write(tmp_path / "rows", "mine.jsonl", [{"pic": ["a.png"], "q": "What?", "a": "yes", "n": "x1", "image": "no.png"}])
    folder(tmp_path)
    columns = {"image": "pic", "question": "q", "answer": "a", "id": "n"}
    section = SourceSection("table", "val", str(tmp_path), "rows/mine.jsonl", columns=columns)
    check_source(section)
    (row,) = source_rows(section)
    assert (row.images, row.id) == ((tmp_path / "a.png",), "table/val/000000-x1")
    elsewhere = SourceSection("table", "val", str(tmp_path / "rows"), pictures="../sub", columns=columns)
    assert [row.reason for row in source_rows(elsewhere)] == ["missing picture"]


@pytest.mark.parametrize("name", ["train.csv", "train.jsonl", "train.json"])
def test_a_wrong_column_is_said_before_any_row_is_read(tmp_path: Path, name: str) -> None:
    write(tmp_path, name, [{"image": "a.png", "caption": "x"}, {"image": "a.png", "caption": "y"}])
    for call in (table.check, lambda *args, **kwargs: next(table.rows(*args, **kwargs))):
        with pytest.raises(MendableError, match="no column 'captoin' \\(did you mean 'caption'\\?\\)") as error:
            call("train", tmp_path, columns={"answer": "captoin"})
        assert name in error.value.where and "'image', 'caption'" in error.value.fix


def test_a_column_that_only_some_rows_have_is_one(tmp_path: Path) -> None:
    write(
        tmp_path, "t.jsonl", [{"question": "?", "answer": "a"}, {"question": "?", "answer": "a", "hint": "Be brief."}]
    )
    assert [row.system for row in table.rows("train", tmp_path, columns={"system": "hint"})] == ["", "Be brief."]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"folder": None}, "needs a folder"),
        ({"file": "no.csv"}, "there is no file 'no.csv'"),
        ({"pictures": Path("none")}, "there is no folder of pictures"),
    ],
)
def test_what_is_not_there_is_said_at_once(tmp_path: Path, options: dict, says: str) -> None:
    with pytest.raises(MendableError, match=says):
        table.check("train", **{"folder": write(tmp_path, "train.csv", ROWS)} | options)


BROKEN = [
    'image,question,answer\na.png,"What, now?",yes\na.png,few\na.png,too,many,cells\na.png,"open",x"y\n'
    "gone.png,What?,yes\n../a.png,What?,yes\nhttp://x.y/a.png,What?,yes\na.png,,yes\na.png,What?,\n"
    'a.png,"two\nlines",yes\na.png,"unclosed,yes\n',
    '{"image": "a.png", "question": "What?", "answer": "yes"}\n{"image": "a.png", "question": \n[1]\n"text"\nnull\n{}\n'
    '{"image": "a.png", "question": 1.5, "answer": "x"}\n\n{"image": 7, "question": "?", "answer": "x"}\n'
    '{"image": "a.png", "question": "?", "answer": "yes"}',
]
EXPECTED = [
    [
        *["", "broken line", "broken line", "", "missing picture", "picture outside its folder", "picture by URL"],
        *["empty question", "empty answer", "", "broken line"],
    ],
    ["", "broken line", "wrong type", "wrong type", "wrong type", "empty answer", "wrong type", "missing picture", ""],
]


@pytest.mark.parametrize(
    ("name", "content", "expected"), [("t.csv", BROKEN[0], EXPECTED[0]), ("t.jsonl", BROKEN[1], EXPECTED[1])]
)
def test_each_record_is_accepted_or_rejected_with_its_reason(
    tmp_path: Path, name: str, content: str, expected: list[str]
) -> None:
    (folder(tmp_path) / name).write_text(content)
    rows = list(table.rows("train", tmp_path))
    assert [row.reason if isinstance(row, Rejected) else "" for row in rows] == expected
    assert len({row.where for row in rows}) == len(rows) and all(
        row.detail for row in rows if isinstance(row, Rejected)
    )


def test_a_large_table_is_read_with_little_memory(tmp_path: Path) -> None:
    count = 50_000
    with (tmp_path / "train.csv").open("w") as file:
        file.write("question,answer\n")
        file.writelines(f"How many {'x' * 100} are in row {number}?,{number}\n" for number in range(count))
    rows = table.rows("train", tmp_path)
    tracemalloc.start()  # slows all down: for a part of the rows, which a file read whole or kept would be seen in too
    examples = sum(isinstance(row, Example) for row in islice(rows, 5_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert examples + sum(isinstance(row, Example) for row in rows) == count
    assert peak < 500_000 < (tmp_path / "train.csv").stat().st_size / 10
