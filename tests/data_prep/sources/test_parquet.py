"""Parquet files: tables and conversations, pictures within or beside them, shards, splits, and damage."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from told import one_left_out, told, write_pictures

from data_prep.example import PICTURE
from data_prep.rows import RowError
from data_prep.sources import parquet
from mlplora_vlm.errors import MendableError

PNG = b"encoded, not opened here"
ROWS: list[dict[str, Any]] = [
    {"image": {"bytes": PNG, "path": "a.png"}, "question": "What is it?", "answer": "red"},
    {"image": {"bytes": None, "path": "a.png"}, "question": "And this?", "answer": "blue"},
    {"image": None, "question": "Why?", "answer": "so"},
]
SAID = [
    {"role": "user", "content": "<image>What is it?"},
    {"role": "assistant", "content": "red"},
    {"role": "user", "content": "Why?"},
    {"role": "assistant", "content": "so"},
]


def write(path: Path, rows: list[dict[str, Any]] = ROWS, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, **columns), path, row_group_size=2)
    return path


def test_pictures_are_the_bytes_within_or_the_files_beside(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet")
    write_pictures(tmp_path, "a.png")
    parquet.check("train", tmp_path)
    rows, rejected = told(parquet.rows("train", tmp_path))
    assert not rejected and [row.images for row in rows] == [(PNG,), (tmp_path / "a.png",), ()]
    assert [(row.question, row.answer) for row in rows] == [(each["question"], each["answer"]) for each in ROWS]
    assert [row.id for row in rows] == [f"parquet/train/{number:06d}" for number in range(3)]
    assert rows[2].where == f"{tmp_path}/train.parquet, row 2"


def test_a_list_column_is_several_pictures_and_several_answers(tmp_path: Path) -> None:
    images = [{"bytes": PNG, "path": None}, {"bytes": b"2", "path": "b.png"}]
    write(tmp_path / "train.parquet", [{"images": images, "question": "Same?", "answers": ["no", "not"]}])
    columns = {"image": "images", "question": "question", "references": "answers"}
    (row,) = told(parquet.rows("train", tmp_path, columns=columns))[0]
    assert row.images == (PNG, b"2") and row.references == ("no", "not")


@pytest.mark.parametrize("beside", [True, False])
def test_conversations_are_read_as_their_format_is(tmp_path: Path, beside: bool) -> None:
    shown: Any = ["a.png"] if beside else [{"bytes": PNG, "path": "a.png"}]
    write(tmp_path / "train.parquet", [{"messages": SAID, "images": shown}])
    write_pictures(tmp_path, "a.png")
    rows, rejected = told(parquet.rows("train", tmp_path))
    assert not rejected and rows[0].images == ((tmp_path / "a.png") if beside else PNG,)
    assert [answer for _, answer in rows[0].turns] == ["red", "so"]
    assert rows[0].turns[0][0].startswith(PICTURE)


def test_a_picture_that_leads_out_costs_its_row(tmp_path: Path) -> None:
    outside = {"image": {"bytes": None, "path": "../secret.jpg"}, "question": "?", "answer": "no"}
    write(tmp_path / "in" / "train.parquet", [*ROWS[::2], outside])
    write_pictures(tmp_path / "in", "a.png")
    accepted, rejected = one_left_out(parquet.rows("train", tmp_path / "in"), 3)
    assert len(accepted) == 2 and rejected.reason == "picture outside its folder" and "row 2" in rejected.where


def test_text_that_is_not_in_utf_8_costs_its_row(tmp_path: Path) -> None:
    answers = pa.array([b"red", b"\xff\xfe", b"so"]).view(pa.string())
    table = pa.table({"question": ["a?", "b?", "c?"], "answer": answers})
    pq.write_table(table, tmp_path / "train.parquet")
    accepted, rejected = one_left_out(parquet.rows("train", tmp_path), 3)
    assert [row.answer for row in accepted] == ["red", "so"] and rejected.reason == "invalid text"


@pytest.mark.parametrize("place", ["", "data/", "train/", "data/train/"])
def test_shards_are_read_in_their_order_wherever_they_lie(tmp_path: Path, place: str) -> None:
    for number in (1, 0):
        write(tmp_path / f"{place}train-0000{number}-of-00002.parquet", [ROWS[2] | {"answer": str(number)}])
    write(tmp_path / "data" / "test.parquet")
    assert [row.answer for row in told(parquet.rows("train", tmp_path))[0]] == ["0", "1"]
    with pytest.raises(MendableError, match=r"split 'tets' .did you mean 'test'"):
        parquet.check("tets", tmp_path)


def test_files_without_a_splits_name_are_train(tmp_path: Path) -> None:
    write(tmp_path / "b.parquet", [ROWS[2]])
    write(tmp_path / "a.parquet", [ROWS[2]] * 2)
    assert len(told(parquet.rows("train", tmp_path))[0]) == 3
    assert len(told(parquet.rows("train", tmp_path, file="b.parquet"))[0]) == 1
    with pytest.raises(MendableError, match="no parquet file is of the split 'test'") as error:
        parquet.check("test", tmp_path)
    assert "test.parquet" in error.value.fix


def test_a_missing_shard_or_one_too_many_is_said(tmp_path: Path) -> None:
    write(tmp_path / "train-00001-of-00002.parquet")
    with pytest.raises(MendableError, match="of 2 shards, of which 00001 are there"):
        parquet.check("train", tmp_path)
    write(tmp_path / "train-00000-of-00002.parquet", [{"question": "a?", "answer": "b"}])
    with pytest.raises(MendableError, match=r"other columns \(image, question, answer\) than"):
        parquet.check("train", tmp_path)
    write(tmp_path / "train-00000-of-00002.parquet")
    parquet.check("train", tmp_path)
    write(tmp_path / "train.parquet")
    with pytest.raises(MendableError, match="whole and as shards"):
        parquet.check("train", tmp_path)


def test_damage_is_named_where_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "train.parquet")
    whole = path.read_bytes()
    for damaged in (b"", whole[:-20], b"not a parquet file", whole[:40]):
        path.write_bytes(damaged)
        with pytest.raises(MendableError, match="cannot be read") as error:
            parquet.check("train", tmp_path)
        assert error.value.where == str(path)
    middle = bytearray(whole)
    middle[4:40] = b"\xff" * 36  # the first column's pages: the footer, and so the check, know nothing of it
    path.write_bytes(middle)
    with pytest.raises(MendableError, match="cannot be read"):
        list(parquet.rows("train", tmp_path))


def test_columns_that_are_not_there_are_named(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", [{"picture": "a.png", "frage": "was?", "antwort": "rot"}])
    with pytest.raises(MendableError, match="column"):
        parquet.check("train", tmp_path)
    with pytest.raises(MendableError, match="column"):
        parquet.check("train", tmp_path, columns={"question": "frge", "answer": "antwort"})
    write_pictures(tmp_path, "a.png")
    given = {"image": "picture", "question": "frage", "answer": "antwort"}
    (row,) = told(parquet.rows("train", tmp_path, columns=given))[0]
    assert (row.question, row.answer, row.images) == ("was?", "rot", (tmp_path / "a.png",))


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_are_errors_of_their_own(tmp_path: Path, seed: int) -> None:
    rows = [{"image": {"bytes": PNG, "path": None}, "question": f"{n} €?", "answer": "cat"} for n in range(40)]
    features = datasets.Features(
        {
            "image": datasets.Image(decode=False),
            "question": datasets.Value("string"),
            "answer": datasets.Value("string"),
        }
    )
    path, random = tmp_path / "train.parquet", Random(seed)
    datasets.Dataset.from_list(rows, features=features).to_parquet(path, batch_size=20)
    whole = path.read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    metadata = whole.rindex(b"huggingface")
    found = set()
    for start in [0] * 20 + [footer] * 30 + [metadata] * 30:
        content = bytearray(whole)
        for _ in range(random.randrange(1, 4)):
            content[random.randrange(start, min(len(content), start + 600))] = random.randrange(256)
        if random.random() < 0.3:
            del content[random.randrange(len(content)) :]
        path.write_bytes(content)
        try:
            assert len(list(parquet.rows("train", tmp_path))) == 40
        except MendableError as error:
            assert not isinstance(error, RowError) and error.what and error.where
            found.add("error")
    assert found
