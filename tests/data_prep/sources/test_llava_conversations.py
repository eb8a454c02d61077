"""LLaVA's conversations (as in llava_v1_5_mix665k.json): turns, text alone, markers, and rows that do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from written import write

from data_prep.example import PICTURE, Example
from data_prep.rows import Rejected
from data_prep.sources import llava_conversations
from data_prep.turns import UNPLACED
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
    "conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Good day."}],
}


def one(value: str, image: object = "a.jpg", answer: str = "yes") -> dict:
    """A row of one turn."""
    turn = [{"from": "human", "value": value}, {"from": "gpt", "value": answer}]
    return {"id": "1", "conversations": turn} | ({} if image is ... else {"image": image})


def read(folder: Path, *given: object, **options: object) -> list:
    return list(llava_conversations.rows("train", write(folder, *given), **options))


def test_the_last_turn_is_the_question_and_the_rest_stand_before_it(tmp_path: Path) -> None:
    first, second = read(tmp_path, BUS, TEXT)
    assert first.images == (tmp_path / "coco/train2017/000000033471.jpg",)
    assert first.earlier == (
        (f"{PICTURE}What are the colors of the bus in the image?", "The bus in the image is white and red."),
    )
    assert first.question == "What feature can be seen on the back of the bus?"
    assert first.answer == "The back of the bus features an advertisement." and first.references == (first.answer,)
    assert (second.images, second.earlier, second.question, second.answer) == ((), (), "Hello", "Good day.")
    assert [row.category for row in (first, second)] == ["picture", "text"]
    assert [row.id for row in (first, second)] == [f"llava_conversations/train/00000{number}" for number in (0, 1)]
    assert first.where.endswith("mix.json, row 0") and not first.repairs and not first.system


@pytest.mark.parametrize(
    ("value", "image", "question"),
    [
        ("<image>\nIs it?", "a.jpg", f"{PICTURE}Is it?"),
        ("Is it?\n<image>", "a.jpg", f"{PICTURE}Is it?"),  # the only one goes to the front, as in LLaVA's training
        (" <image> Is it? ", ["a.jpg"], f"{PICTURE}Is it?"),
        ("Is <image> it?", "a.jpg", f"{PICTURE}Is  it?"),
        ("<image>\n<image>\nIs it?", ["a.jpg", "b.jpg"], f"{PICTURE}{PICTURE}Is it?"),
        ("<image>\nIs it\n<image> or <image>", ["a.jpg"] * 3, f"{PICTURE}Is it\n{PICTURE} or{PICTURE}"),
        ("Is it?", ..., "Is it?"),
        ("Is it?", None, "Is it?"),
        ("Is it?", [], "Is it?"),
        ("<image>", "a.jpg", PICTURE),
    ],
)
def test_markers_say_where_the_pictures_stand(tmp_path: Path, value: str, image: object, question: str) -> None:
    [row] = read(tmp_path, one(value, image))
    named = [image] if isinstance(image, str) else image if isinstance(image, list) else []
    assert row.question == question and row.images == tuple(tmp_path / name for name in named)
    assert not row.repairs


def test_pictures_without_any_marker_are_put_first_and_it_is_said(tmp_path: Path) -> None:
    several, empty = read(tmp_path, one("Is it?", ["a.jpg", "b.jpg"]), one("", "a.jpg"))
    assert several.question == "Is it?" and len(several.images) == 2 and several.repairs == (UNPLACED,)
    assert empty.question == "" and empty.repairs == (UNPLACED,)


def test_later_questions_may_show_pictures(tmp_path: Path) -> None:
    turns = [*BUS["conversations"], *one("And <image>?")["conversations"]]
    [row] = read(tmp_path, BUS | {"image": ["a.jpg", "b.jpg"], "conversations": turns})
    assert [question.count(PICTURE) for question, _ in row.turns] == [1, 0, 1]
    assert [path.name for path in row.images] == ["a.jpg", "b.jpg"]


def test_a_system_entry_heads_the_conversation(tmp_path: Path) -> None:
    [row] = read(tmp_path, {"conversations": [{"from": "system", "value": "Be brief."}, *TEXT["conversations"]]})
    assert row.system == "Be brief." and row.turns == (("Hello", "Good day."),)


def roles(*names: str) -> dict:
    return {"id": "1", "conversations": [{"from": name, "value": "a"} for name in names]}


@pytest.mark.parametrize(
    ("row", "reason", "says"),
    [
        (one("<image>\nIs it?", ...), "picture markers", "mark 1 pictures, and the row names 0"),
        (one("<image>\nIs it?", ["a.jpg", "b.jpg"]), "picture markers", "mark 1 pictures, and the row names 2"),
        (one("<image>\nIs <image> it?"), "picture markers", "mark 2 pictures, and the row names 1"),
        (one("<image>\nIs it?", answer="<image>"), "picture markers", "in the assistant's text"),
        (roles("gpt", "human"), "roles out of order", "here speak 'gpt', 'human'"),
        (roles("human"), "roles out of order", "the last word"),
        (roles("human", "gpt", "human"), "roles out of order", "the last word"),
        (roles("human", "human", "gpt"), "roles out of order", "take turns"),
        (roles("human", "system", "gpt"), "roles out of order", "'system'"),
        (roles("system"), "roles out of order", "nobody"),
        (roles("human", "teacher"), "roles out of order", "'teacher'"),
        (roles(), "roles out of order", "nobody"),
        (roles("human", "observation"), "unsupported content", "tool calls"),
        (one("Is it?", answer=" \n"), "empty answer", "nothing to learn"),
        (one(" ", ...), "empty question", "neither text nor a picture"),
        (BUS | {"conversations": [*BUS["conversations"], *one("")["conversations"]]}, "empty question", "neither"),
        (one(f"Is {PICTURE} it?"), "invalid text", "U+FFFC"),
        ({"id": "1"}, "missing field", "lacks 'conversations'"),
        ("a text", "missing field", "lacks 'conversations'"),
        ({"conversations": "a text"}, "wrong type", "not a list"),
        ({"conversations": [None, None]}, "missing field", "lacks 'from'"),
        ({"conversations": [{"from": "human", "value": 1}, {"from": "gpt", "value": "a"}]}, "wrong type", "not text"),
        (one("<image>\nIs it?", "../secret.jpg"), "picture outside its folder", "lies outside"),
        (one("<image>\nIs it?", "none.jpg"), "missing picture", "none.jpg"),
        (one("<image>\nIs it?", "http://localhost:1/a.jpg"), "picture by URL", "set `urls`"),
        (one("<image>\nIs it?", 3), "wrong type", "'image'"),
        (one("<image>\nIs it?", [["a.jpg"]]), "wrong type", "'image'"),
        (one("<video>\nIs it?", ...) | {"video": "a.mp4"}, "unsupported content", "'video'"),
    ],
)
def test_a_row_that_does_not_fit_is_rejected_and_the_others_are_not(
    tmp_path: Path, row: object, reason: str, says: str
) -> None:
    first, rejected, last = read(tmp_path, BUS, row, TEXT)
    assert isinstance(rejected, Rejected) and rejected.reason == reason and says in rejected.detail
    assert rejected.where.endswith("mix.json, row 1")
    assert isinstance(first, Example) and isinstance(last, Example) and last.id.endswith("/000002")


def test_lines_are_read_and_broken_ones_are_named(tmp_path: Path) -> None:
    (write(tmp_path, BUS, TEXT, file="train.jsonl") / "train.jsonl").open("a").write("\n{'id'\n" + json.dumps(TEXT))
    found = list(llava_conversations.rows("train", tmp_path))
    assert [type(row).__name__ for row in found] == ["Example", "Example", "Rejected", "Example"]
    assert found[2].reason == "broken line" and found[2].where.endswith("train.jsonl:3")


def test_the_file_and_the_pictures_folder_can_be_named(tmp_path: Path) -> None:
    (write(tmp_path, TEXT) / "other.json").write_text(json.dumps([one("<image>", "33471.jpg")]))
    with pytest.raises(MendableError, match="several files"):
        llava_conversations.check("train", tmp_path)
    options = {"file": "other.json", "pictures": Path("shown")}
    with pytest.raises(MendableError, match="no folder of pictures"):
        llava_conversations.check("train", tmp_path, **options)
    (tmp_path / "shown").mkdir()
    (tmp_path / "shown" / "33471.jpg").touch()
    llava_conversations.check("train", tmp_path, **options)
    [row] = llava_conversations.rows("train", tmp_path, **options)
    assert row.images == (tmp_path / "shown" / "33471.jpg",)
    [row] = llava_conversations.rows("train", tmp_path, file="other.json", pictures=tmp_path / "shown")
    assert row.images == (tmp_path / "shown" / "33471.jpg",)


def test_a_folder_without_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MendableError, match="no file that ends in"):
        llava_conversations.check("train", tmp_path)
    with pytest.raises(MendableError, match="needs a folder"):
        list(llava_conversations.rows("train"))
