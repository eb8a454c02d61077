"""AI2D from files in the official form: which questions are whose, and letters drawn over a diagram's labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import official_sets
import pytest
from told import one_left_out, told, without, write_pictures

from data_prep.images import open_image
from data_prep.sources import ai2d
from mlplora_vlm.errors import MendableError

LETTERS, PLAIN = official_sets.AI2D_QUESTIONS["questions"]
ROW = official_sets.AI2D_QUESTIONS["questions"][PLAIN]
LABEL = official_sets.AI2D_ANNOTATION["text"]["T0"]


def test_the_test_is_what_the_list_names(tmp_path: Path) -> None:
    official_sets.ai2d(tmp_path)
    test, rejected = told(ai2d.rows("test", tmp_path))
    assert not rejected and [row.id for row in test] == ["ai2d/test/0.png-0", "ai2d/test/0.png-1"]
    train, rejected = told(ai2d.rows("train", tmp_path))
    assert not rejected and len(train) == 2 and {row.category for row in train} == {"foodWeb"}
    assert test[1].question == f"{PLAIN}\nA. 1\nB. 2\nC. 3\nD. 4"
    assert (test[1].answer, test[1].references, test[1].category) == ("A", ("A",), "faceParts")
    assert test[1].images == (tmp_path / "images" / "0.png",)
    assert test[0].where == f"{tmp_path / 'questions' / '0.png.json'}, question 0"


def test_letters_are_drawn_where_the_labels_stood_and_nowhere_else(tmp_path: Path) -> None:
    official_sets.ai2d(tmp_path)
    (row, _), _ = told(ai2d.rows("test", tmp_path))
    before, after = open_image(tmp_path / "images" / "0.png"), open_image(row.images[0])
    assert after.size == before.size == (24, 16)
    box = {(x, y) for x in range(2, 15) for y in range(2, 13)}
    outside = {(x, y) for x in range(24) for y in range(16)} - box
    assert all(after.getpixel(at) == before.getpixel(at) for at in outside)
    greys = [after.getpixel(at) for at in box]
    assert {len(set(colour)) for colour in greys} == {1}  # black on white, with its edges smoothed
    assert greys.count((255, 255, 255)) > 40 and sum(colour[0] < 100 for colour in greys) > 5


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MendableError) as error:
        ai2d.check("test", tmp_path)
    for part in ("images", "questions", "annotations", "categories.json", "ai2d-all.zip", "ai2d_test_ids.csv"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("bad", "reason", "says"),
    [
        (without(ROW, "abcLabel"), "missing field", "lacks 'abcLabel'"),
        (ROW | {"abcLabel": 1}, "wrong type", "not bool"),
        (ROW | {"answerTexts": ["1", 2]}, "wrong type", "not a list of texts"),
        (ROW | {"correctAnswer": 4}, "no annotation", "number 4 of 4 choices"),
        (ROW | {"correctAnswer": "0"}, "wrong type", "not a whole number"),
        (ROW | {"questionId": None}, "wrong type", "not text"),
        (7, "missing field", "lacks"),
    ],
)
def test_a_bad_question_is_left_out_and_no_other(tmp_path: Path, bad: Any, reason: str, says: str) -> None:
    official_sets.ai2d(tmp_path, {"imageName": "0.png", "questions": {PLAIN: bad, "And how many?": ROW}})
    accepted, rejected = one_left_out(ai2d.rows("test", tmp_path), 2)
    assert len(accepted) == 1 and (rejected.reason, rejected.where.rpartition(", ")[2]) == (reason, "question 0")
    assert says in rejected.detail


@pytest.mark.parametrize(
    ("name", "reason"), [("9.png", "missing picture"), ("linked.png", "picture outside its folder")]
)
def test_a_diagram_that_is_not_there_costs_its_questions(tmp_path: Path, name: str, reason: str) -> None:
    official_sets.ai2d(tmp_path, official_sets.AI2D_QUESTIONS | {"imageName": name})
    write_pictures(tmp_path / "images")
    accepted, rejected = told(ai2d.rows("test", tmp_path))
    assert not accepted and [row.reason for row in rejected] == [reason] * 2


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        ({"imageName": "0.png"}, "missing field"),
        ({"text": {"T0": without(LABEL, "replacementText")}}, "missing field"),
        ({"text": {"T0": LABEL | {"rectangle": [[1, 2], [3]]}}}, "wrong type"),
        ({"text": {"T0": LABEL | {"rectangle": [["a", 2], [3, 4]]}}}, "wrong type"),
    ],
)
def test_labels_that_cannot_be_read_cost_the_questions_with_letters(tmp_path: Path, annotation: Any, reason: str):
    official_sets.ai2d(tmp_path, annotation=annotation)
    accepted, rejected = one_left_out(ai2d.rows("test", tmp_path), 2)
    assert [row.id for row in accepted] == ["ai2d/test/0.png-1"] and rejected.reason == reason


def test_a_file_of_questions_that_cannot_be_read_is_one_rejection(tmp_path: Path) -> None:
    official_sets.ai2d(tmp_path)
    for text in ("{", '{"imageName": "0.png"}', '{"imageName": 3, "questions": {}}'):
        (tmp_path / "questions" / "0.png.json").write_text(text)
        accepted, rejected = told(ai2d.rows("test", tmp_path))
        assert not accepted and [row.where for row in rejected] == [str(tmp_path / "questions" / "0.png.json")]


def test_an_empty_list_or_damaged_categories_are_named(tmp_path: Path) -> None:
    official_sets.ai2d(tmp_path)
    (tmp_path / "ai2d_test_ids.csv").write_text("")
    with pytest.raises(MendableError, match="not an official AI2D file"):
        list(ai2d.rows("test", tmp_path))
    (tmp_path / "categories.json").write_text("[]")
    with pytest.raises(MendableError, match="not an official AI2D file"):
        list(ai2d.rows("test", tmp_path))
