"""LLaVA's conversations (as in llava_v1_5_mix665k.json): turns, text alone, markers, and rows that do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data_prep.sources import llava_conversations
from mlplora_vlm.errors import MendableError

BUS = {
    "id": "000000033471",
    "image": "coco/train2017/000000033471.jpg",
    "conversations": [
        {"from": "human", "value": "<image>\nWhat are the colors of the bus in the image?"},
        {"from": "gpt", "value": "The bus in the image is white and red."},
        {"from": "human", "value": "What feature can be seen on the back of the bus?"},
        {"from": "gpt", "value": "The back of the bus features an advertisement."},
    ],
}
TEXT = {
    "id": "wgByO4Y_0",
    "model": "",
    "conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": ""}],
}


def one(value: str, image: object = "a.jpg") -> dict:
    """A row of one turn."""
    turn = [{"from": "human", "value": value}, {"from": "gpt", "value": "yes"}]
    return {"id": "1", "conversations": turn} | ({} if image is None else {"image": image})


def folder(path: Path, *rows: object) -> Path:
    (path / "mix.json").write_text(json.dumps(rows))
    for name in ("coco/train2017/000000033471.jpg", "a.jpg", "b.jpg"):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(b"not opened here")
    return path


def test_the_last_turn_is_the_question_and_the_rest_stand_before_it(tmp_path: Path) -> None:
    first, second = llava_conversations.rows("train", folder(tmp_path, BUS, TEXT))
    assert first.images == (tmp_path / "coco/train2017/000000033471.jpg",)
    assert first.earlier == (
        ("What are the colors of the bus in the image?", "The bus in the image is white and red."),
    )
    assert first.question == "What feature can be seen on the back of the bus?"
    assert first.answer == "The back of the bus features an advertisement." and first.references == (first.answer,)
    assert (second.images, second.earlier, second.question, second.answer) == ((), (), "Hello", "")
    assert [row.category for row in (first, second)] == ["picture", "text"]
    assert first.id != second.id


@pytest.mark.parametrize(
    ("value", "image", "pictures"),
    [
        ("<image>\nIs it?", "a.jpg", ["a.jpg"]),
        ("Is it?\n<image>", "a.jpg", ["a.jpg"]),
        (" <image> Is it? ", ["a.jpg"], ["a.jpg"]),
        ("<image>\n<image>\nIs it?", ["a.jpg", "b.jpg"], ["a.jpg", "b.jpg"]),
        ("Is it?", None, []),
    ],
)
def test_markers_are_taken_off_the_question(tmp_path: Path, value: str, image: object, pictures: list[str]) -> None:
    [row] = llava_conversations.rows("train", folder(tmp_path, one(value, image)))
    assert row.question == "Is it?" and row.images == tuple(tmp_path / name for name in pictures)


def test_a_picture_may_stand_alone(tmp_path: Path) -> None:
    [row] = llava_conversations.rows("train", folder(tmp_path, one("<image>")))
    assert row.question == "" and len(row.images) == 1


def roles(*names: str) -> dict:
    return {"id": "1", "conversations": [{"from": name, "value": "a"} for name in names]}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (one("Is it?"), "0 <image> at its ends, for 1 pictures"),
        (one("<image>\nIs it?", None), "1 <image> at its ends, for 0"),
        (one("<image>\nIs it?", ["a.jpg", "b.jpg"]), "1 <image> at its ends, for 2"),
        (one("Is <image> it?"), "0 <image> at its ends, for 1 pictures"),
        (one("<image>\nIs <image> it?"), "elsewhere"),
        (BUS | {"conversations": BUS["conversations"] + one("And <image>?")["conversations"]}, "elsewhere"),
        (roles("gpt", "human"), "do not take turns"),
        (roles("human"), "do not take turns"),
        (roles("human", "human", "gpt"), "do not take turns"),
        (roles("system", "human", "gpt"), "do not take turns"),
        (roles(), "do not take turns"),
        ({"id": "1"}, "lacks 'conversations'"),
        (one("<image>\nIs it?", "../secret.jpg"), "lies outside"),
        (one("<image>\nIs it?", None) | {"image": None}, "not text"),
        (one("Is it?", []), "not a list of texts"),
    ],
)
def test_a_row_that_does_not_fit_is_named(tmp_path: Path, row: dict, says: str) -> None:
    with pytest.raises(MendableError, match=says) as error:
        list(llava_conversations.rows("train", folder(tmp_path, BUS, row)))
    assert error.value.where.endswith("mix.json, row 1")


def test_the_folder_holds_one_file(tmp_path: Path) -> None:
    with pytest.raises(MendableError, match="no JSON file") as error:
        llava_conversations.check("train", tmp_path)
    assert "llava_v1_5_mix665k.json" in error.value.fix
    (folder(tmp_path, BUS) / "other.json").write_text("[]")
    with pytest.raises(MendableError, match="several JSON files"):
        llava_conversations.check("train", tmp_path)
