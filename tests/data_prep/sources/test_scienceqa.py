"""ScienceQA from files in the official form (lupantech/ScienceQA at commit 2cbf831, README.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from told import one_left_out, told, without, write_json, write_pictures

from data_prep.prompts import ask
from data_prep.sources import scienceqa
from mlplora_vlm.errors import MendableError

PROBLEMS: dict[str, Any] = {
    "1": {
        "question": "Which of these states is farthest north?",
        "choices": ["West Virginia", "Louisiana", "Arizona", "Oklahoma"],
        "answer": 0,
        "hint": "",
        "image": "image.png",
        "task": "closed choice",
        "grade": "grade2",
        "subject": "social science",
        "topic": "geography",
        "category": "Geography",
        "skill": "Read a map: cardinal directions",
        "lecture": "Maps have four cardinal directions, or main directions.",
        "solution": "To find the answer, look at the compass rose.",
        "split": "train",
    },
    "5": {
        "question": "Is this a sentence?",
        "choices": ["yes", "no"],
        "answer": 1,
        "hint": "Figure: sturgeon.",
        "image": None,
        "task": "closed choice",
        "grade": "grade4",
        "subject": "language science",
        "topic": "writing-strategies",
        "category": "Sentences",
        "skill": "Identify sentences",
        "lecture": "",
        "solution": "",
        "split": "train",
    },
}
OTHER = PROBLEMS["1"] | {"question": "What is this?", "subject": "natural science", "answer": 3}
FILE = "problems.json"


def folder(path: Path, problems: Any, train: list) -> Path:
    write_json(path / FILE, problems)
    write_json(path / "pid_splits.json", {"train": train, "val": ["6"], "test": ["4"], "minitrain": ["1"]})
    write_pictures(path / "images" / "train", "1/image.png", "2/image.png")
    (path / "images" / "train" / "2" / "linked.png").symlink_to(path / "images" / "secret.jpg")
    return path


def test_choices_have_letters_and_the_answer_is_one(tmp_path: Path) -> None:
    (text, pictured), rejected = told(scienceqa.rows("train", folder(tmp_path, PROBLEMS, ["5", "1"])))
    assert not rejected and [text.id, pictured.id] == ["scienceqa/train/5", "scienceqa/train/1"]  # the split's order
    assert pictured.question == (
        "Which of these states is farthest north?\nA. West Virginia\nB. Louisiana\nC. Arizona\nD. Oklahoma"
    )
    assert (pictured.answer, pictured.references, pictured.category) == ("A", ("A",), "social science")
    assert pictured.images == (tmp_path / "images" / "train" / "1" / "image.png",)
    assert text.question == "Context: Figure: sturgeon.\nIs this a sentence?\nA. yes\nB. no"
    assert (text.answer, text.images, text.category) == ("B", (), "language science")
    assert text.where == f"{tmp_path / FILE}, question 5"


def test_questions_are_asked_as_lmms_eval_asks_them(tmp_path: Path) -> None:
    [row], _ = told(scienceqa.rows("train", folder(tmp_path, PROBLEMS, ["5"])))
    assert ask("option_letter", row.question) == (
        "Context: Figure: sturgeon.\nIs this a sentence?\nA. yes\nB. no\n"
        "Answer with the option's letter from the given choices directly."
    )


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MendableError) as error:
        scienceqa.check("test", tmp_path)
    for part in ("problems.json", "pid_splits.json", "lupantech/ScienceQA", "images/test", "images/test.zip"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("bad", "reason", "says"),
    [
        (without(OTHER, "image"), "missing field", "lacks 'image'"),
        (without(OTHER, "hint"), "missing field", "lacks 'hint'"),
        (OTHER | {"hint": None}, "wrong type", "not text"),
        (OTHER | {"choices": []}, "wrong type", "not a list of texts"),
        (OTHER | {"choices": [1, 2, 3, 4]}, "wrong type", "not a list of texts"),
        (OTHER | {"answer": "3"}, "wrong type", "not a whole number"),
        (OTHER | {"answer": 4}, "no annotation", "number 4 of 4 choices"),
        (OTHER | {"answer": -1}, "no annotation", "number -1"),
        (OTHER | {"choices": ["a"] * 27}, "no annotation", "27 choices"),
        (OTHER | {"subject": 1}, "wrong type", "not text"),
        (OTHER | {"image": ""}, "missing picture", "images/train.zip"),
        (OTHER | {"image": "none.png"}, "missing picture", "images/train.zip"),
        (OTHER | {"image": "../../../secret.jpg"}, "picture outside its folder", "outside"),
        (OTHER | {"image": "linked.png"}, "picture outside its folder", "outside"),
        ("no object", "missing field", "lacks"),
    ],
)
def test_a_bad_row_is_left_out_and_no_other(tmp_path: Path, bad: Any, reason: str, says: str) -> None:
    found = scienceqa.rows("train", folder(tmp_path, PROBLEMS | {"2": bad}, ["1", "2", "5"]))
    accepted, rejected = one_left_out(found, 3)
    assert [row.id for row in accepted] == ["scienceqa/train/1", "scienceqa/train/5"]
    assert rejected.reason == reason and says in rejected.detail
    assert rejected.where == f"{tmp_path / FILE}, question 2"


@pytest.mark.parametrize("number", ["7", 1, None, ["1"], "../1"])
def test_a_question_that_is_not_there_is_said(tmp_path: Path, number: Any) -> None:
    found = scienceqa.rows("train", folder(tmp_path, PROBLEMS, ["1", number, "5"]))
    accepted, rejected = one_left_out(found, 3)
    assert len(accepted) == 2 and rejected.reason == "no annotation" and "is not in problems.json" in rejected.detail


@pytest.mark.parametrize(
    ("name", "text"),
    [(FILE, "[]"), (FILE, '{"1": {'), (FILE, ""), ("pid_splits.json", "{}"), ("pid_splits.json", '{"train": "1"}')],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, text: str) -> None:
    (folder(tmp_path, PROBLEMS, ["1"]) / name).write_text(text)
    with pytest.raises(MendableError, match="not an official ScienceQA file") as error:
        list(scienceqa.rows("train", tmp_path))
    assert error.value.where == str(tmp_path / name)


def test_the_questions_with_a_picture_are_splits_of_their_own(tmp_path: Path) -> None:
    found = folder(tmp_path, PROBLEMS | {"2": without(OTHER, "image")}, ["5", "1", "2", "7"])
    accepted, rejected = told(scienceqa.rows("train_img", found))
    assert [row.id for row in accepted] == ["scienceqa/train/1"]  # the same question, the same id
    assert [row.reason for row in rejected] == ["missing field", "no annotation"]  # nobody knows what these have
    with pytest.raises(MendableError, match="images/test"):
        scienceqa.check("test_img", found)
