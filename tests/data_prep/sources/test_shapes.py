"""Drawn shapes: the same at every call, true of their pictures, and sixteen that cannot be answered without looking."""

from __future__ import annotations

from collections import Counter, defaultdict

from data_prep.example import Example
from data_prep.sources import shapes


def _key(row: Example) -> tuple:
    pictures = tuple(picture.tobytes() for picture in row.images)
    return row.id, pictures, row.question, row.answer, row.references, row.category


def test_shapes_are_the_same_at_every_call_and_differ_between_splits() -> None:
    train, test = list(shapes.rows("train")), list(shapes.rows("test"))
    assert [_key(row) for row in train] == [_key(row) for row in shapes.rows("train")]
    assert (len(train), len(test)) == (256, 64)
    assert len({row.id for row in train + test}) == 320
    assert not {row.images[0].tobytes() for row in train} & {row.images[0].tobytes() for row in test}


def test_shapes_answers_are_true_of_the_picture() -> None:
    for row in shapes.rows("train"):
        (picture,) = row.images
        colours = {
            name for name, rgb in shapes.COLOURS.items() if picture.getcolors() and rgb in dict(_counts(picture))
        }
        assert len(colours) == 1
        words = row.question.rstrip("?").split()
        asked = [word for word in words if word in shapes.COLOURS]
        if row.category == "open":
            assert row.answer in shapes.COLOURS or row.answer in shapes.SHAPES
            assert row.answer in colours or row.answer not in shapes.COLOURS
            assert set(asked) <= colours
        elif asked:
            assert row.answer == ("yes" if asked[0] in colours else "no")
    categories = [(row.category, row.answer) for row in shapes.rows("test")]
    assert categories.count(("yes/no", "yes")) == categories.count(("yes/no", "no")) == 16


def _counts(picture) -> list[tuple[tuple[int, int, int], int]]:
    return [(rgb, count) for count, rgb in picture.getcolors(picture.width * picture.height)]


def test_sixteen_rows_can_be_learnt_by_heart_and_not_by_their_questions() -> None:
    rows = list(shapes.rows("sixteen"))
    assert len(rows) == 16 and [_key(row) for row in rows] == [_key(row) for row in shapes.rows("sixteen")]
    assert len({_key(row)[1:3] for row in rows}) == 16  # no picture is asked the same twice
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        answers[row.question][row.answer] += 1
    assert [sorted(counts.values()) for counts in answers.values()] == [[2, 2]] * 4
    assert Counter(row.category for row in rows) == {"open": 8, "yes/no": 8}
    others = {row.images[0].tobytes() for split in ("train", "test") for row in shapes.rows(split)}
    assert not others & {row.images[0].tobytes() for row in rows}


def test_sixteen_rows_are_true_of_the_picture() -> None:
    answers: dict[bytes, dict[str, str]] = defaultdict(dict)
    for row in shapes.rows("sixteen"):
        (picture,) = row.images
        answers[picture.tobytes()][row.question] = row.answer
        [colour] = {name for name, rgb in shapes.COLOURS.items() if rgb in dict(_counts(picture))}
        said = answers[picture.tobytes()]
        assert said["what color is the shape?"] == colour
        assert said.get("is there a red shape?", "yes" if colour == "red" else "no") == (
            "yes" if colour == "red" else "no"
        )
    for said in answers.values():
        assert (said["what shape is in the image?"] == "circle") == (said["is there a circle?"] == "yes")
