"""GQA from files in the official form: entries as they are published (see data_prep/sources/gqa.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from told import one_left_out, told, without, write_json, write_pictures

from data_prep.sources import gqa
from mlplora_vlm.errors import MendableError

ENTRIES: dict[str, Any] = {
    "02930152": {
        "semantic": [
            {"operation": "select", "dependencies": [], "argument": "sky (2486325)"},
            {"operation": "verify color", "dependencies": [0], "argument": "dark"},
        ],
        "entailed": ["02930160", "02930158"],
        "equivalent": ["02930152"],
        "question": "Is the sky dark?",
        "imageId": "2354786",
        "isBalanced": True,
        "groups": {"global": None, "local": "06-sky_dark"},
        "answer": "yes",
        "semanticStr": "select: sky (2486325)->verify color: dark [0]",
        "annotations": {"answer": {}, "question": {"2": "2486325"}, "fullAnswer": {"2": "2486325"}},
        "types": {"detailed": "verifyAttr", "semantic": "attr", "structural": "verify"},
        "fullAnswer": "Yes, the sky is dark.",
    },
    "20644644": {
        "semantic": [
            {"operation": "select", "dependencies": [], "argument": "scene"},
            {"operation": "query", "dependencies": [0], "argument": "room"},
        ],
        "entailed": ["20644645", "20644643"],
        "equivalent": ["20644644"],
        "question": "Which room is it?",
        "imageId": "n250821",
        "isBalanced": True,
        "groups": {"global": "room", "local": "02q-room"},
        "answer": "bedroom",
        "semanticStr": "select: scene->query: room [0]",
        "annotations": {"answer": {}, "question": {}, "fullAnswer": {}},
        "types": {"detailed": "place", "semantic": "global", "structural": "query"},
        "fullAnswer": "It is a bedroom.",
    },
}
LAST = ENTRIES["20644644"] | {"question": "Is it indoors?", "answer": "yes"}


def folder(path: Path, entries: dict[str, Any] = ENTRIES) -> Path:
    write_json(path / "testdev_balanced_questions.json", entries)
    write_pictures(path / "images", "2354786.jpg", "n250821.jpg")
    return path


def test_rows_have_the_short_answer_and_the_kind_of_question(tmp_path: Path) -> None:
    (first, second), rejected = told(gqa.rows("testdev", folder(tmp_path)))
    assert not rejected and (first.id, second.id) == ("gqa/testdev/02930152", "gqa/testdev/20644644")
    assert (first.question, first.answer, first.references) == ("Is the sky dark?", "yes", ("yes",))
    assert (first.category, second.category) == ("verify", "query")
    assert second.images == (tmp_path / "images" / "n250821.jpg",)
    assert second.where == f"{tmp_path / 'testdev_balanced_questions.json'}, question 20644644"


def test_rows_are_read_one_by_one(tmp_path: Path) -> None:
    path = folder(tmp_path) / "testdev_balanced_questions.json"
    path.write_text(path.read_text()[:-100] + " " * 200_000)
    rows = gqa.rows("testdev", tmp_path)
    assert next(rows).id == "gqa/testdev/02930152"  # long before the place where the file breaks off
    with pytest.raises(MendableError, match="not an official GQA file") as error:
        list(rows)
    assert error.value.where == str(path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MendableError) as error:
        gqa.check("train", tmp_path)
    for part in ("train_balanced_questions.json", "questions1.2.zip", "images is missing", "images.zip", "dorarad/gqa"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("bad", "reason", "says"),
    [
        (without(LAST, "answer"), "missing field", "lacks 'answer'"),  # as in the test split
        (without(LAST, "types"), "missing field", "lacks 'types'"),
        (LAST | {"types": {"semantic": "rel"}}, "missing field", "lacks 'structural'"),
        (LAST | {"types": "query"}, "wrong type", "not an object"),
        (LAST | {"imageId": 2354786}, "wrong type", "not text"),
        (LAST | {"question": None}, "wrong type", "not text"),
        (LAST | {"imageId": "1"}, "missing picture", "images.zip"),
        (LAST | {"imageId": "../secret"}, "picture outside its folder", "outside"),
        (LAST | {"imageId": "linked"}, "picture outside its folder", "outside"),
        ([LAST], "missing field", "lacks"),
    ],
)
def test_a_bad_row_is_left_out_and_no_other(tmp_path: Path, bad: Any, reason: str, says: str) -> None:
    first, second = ENTRIES.items()
    entries = dict([first, ("07333408", bad), second])
    accepted, rejected = one_left_out(gqa.rows("testdev", folder(tmp_path, entries)), 3)
    assert [row.id for row in accepted] == ["gqa/testdev/02930152", "gqa/testdev/20644644"]
    assert rejected.reason == reason and says in rejected.detail
    assert rejected.where == f"{tmp_path / 'testdev_balanced_questions.json'}, question 07333408"


@pytest.mark.parametrize("text", ["", "null", "{}", json.dumps([LAST]), '{"1": {"question": "', '{"1":' * 50_000])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    path = folder(tmp_path) / "testdev_balanced_questions.json"
    path.write_text(text)
    with pytest.raises(MendableError, match="not an official GQA file") as error:
        list(gqa.rows("testdev", tmp_path))
    assert error.value.where == str(path)
