"""Named columns: which is which, and what a record's cells become."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.columns import ALIASES, Columns, held, mapping, numbered
from data_prep.example import PICTURE, Example
from data_prep.rows import REASONS, Rejected, RowError
from mlplora_vlm.errors import MendableError

PLAIN = {"image": "image", "question": "question", "answer": "answer"}


def picture(name: str, where: str) -> Path:
    if name == "gone":
        raise RowError("missing picture", "there is none", where)
    return Path("/pictures") / name


def read(record: Any, theirs: dict[str, str] = PLAIN) -> Any:
    return next(numbered([("here", record)], Columns("table/train", theirs, picture)))


@pytest.mark.parametrize(
    ("given", "present", "found"),
    [
        ({}, ["image", "question", "answer", "more"], PLAIN),
        ({}, ["file_name", "text"], {"image": "file_name", "answer": "text"}),
        ({}, ["query", "answers"], {"question": "query", "references": "answers"}),
        ({}, ["image", "images", "text", "answer"], {"image": "image", "answer": "answer"}),
        ({"answer": "caption"}, ["image", "text", "caption"], {"image": "image", "answer": "caption"}),
        ({"question": "text"}, ["text", "label"], {"question": "text", "answer": "label"}),
        ({"question": "answer", "answer": "x"}, ["answer", "x"], {"question": "answer", "answer": "x"}),
    ],
)
def test_a_column_is_found_by_what_is_said_by_its_name_or_as_the_only_alias(
    given: dict, present: list[str], found: dict
) -> None:
    assert mapping(given, present, "here") == found


@pytest.mark.parametrize(
    ("given", "present", "says"),
    [
        ({"answer": "anser"}, ["image", "answer"], ["no column 'anser' (did you mean 'answer'?)", "'image', 'answer'"]),
        ({"anwser": "answer"}, ["image", "answer"], ["no key 'anwser' (did you mean 'answer'?)", "references"]),
        ({}, ["image", "caption", "text"], ["answer may be in any of the columns caption, text", "{answer: caption}"]),
        ({}, ["image", "Answer"], ["no column is the answer or the references (did you mean 'Answer'?)"]),
        ({}, ["answer", "picture_file"], ["no column is the image or the question"]),
        ({"image": "a", "id": "b"}, ["answer"], ["no column 'a'", "no column 'b'"]),
        ({}, [], ["no column is the answer", "no column is the image"]),
    ],
)
def test_columns_that_do_not_fit_are_said_together(given: dict, present: list[str], says: list[str]) -> None:
    with pytest.raises(MendableError) as error:
        mapping(given, present, "here")
    assert all(words in str(error.value) for words in says)


def test_no_column_is_taken_for_two_things() -> None:
    names = [alias for aliases in ALIASES.values() for alias in aliases]
    assert len(names) == len(set(names)) and not set(names) & ALIASES.keys()


@pytest.mark.parametrize(
    ("image", "images"),
    [
        ("a.png", ["a.png"]),
        (["a.png", "b.png"], ["a.png", "b.png"]),
        ('["a.png", "b.png"]', ["a.png", "b.png"]),  # as a cell of CSV has them
        ("[1] a.png", ["[1] a.png"]),
        ("[1, 2]", ["[1, 2]"]),
        ("[" * 100_000, ["[" * 100_000]),
    ],
)
def test_pictures_are_one_or_a_list(image: object, images: list[str]) -> None:
    row = read({"image": image, "question": "What?", "answer": "yes"})
    assert row.images == tuple(Path("/pictures") / name for name in images)
    assert (row.question, row.category, row.repairs) == ("What?", "picture", ())


@pytest.mark.parametrize("image", [None, "", []])
def test_a_row_without_a_picture_is_text(image: object) -> None:
    row = read({"image": image, "question": "What?", "answer": "yes"})
    assert (row.images, row.category) == ((), "text")
    assert read({"question": "What?", "answer": "yes"}).images == ()


def test_pictures_that_a_record_holds_stay_encoded() -> None:
    structs = [{"bytes": b"1", "path": "a.png"}, {"bytes": None, "path": "b.png"}, b"3"]
    assert read({"image": structs, "question": "?", "answer": "a"}).images == (b"1", Path("/pictures/b.png"), b"3")
    assert held({"bytes": b"", "path": None}, picture, "") == b""  # the check says that it is no picture


def test_markers_place_the_pictures() -> None:
    row = read({"image": ["a", "b"], "question": "Is <image> like <image>?", "answer": "no"})
    assert row.question == f"Is {PICTURE} like {PICTURE}?"
    assert read({"image": "a", "question": "What is\n<image>", "answer": "no"}).question == f"{PICTURE}What is"


@pytest.mark.parametrize(
    ("cells", "answer", "references"),
    [
        ({"answer": "yes"}, "yes", ("yes",)),
        ({"answer": 3}, "3", ("3",)),
        ({"references": ["a", "b", "b"]}, "b", ("a", "b", "b")),
        ({"references": ["a", "b"]}, "a", ("a", "b")),
        ({"references": '["a", "b"]'}, "a", ("a", "b")),
        ({"references": "a"}, "a", ("a",)),
        ({"references": [{"answer": "x", "answer_id": 1}, {"answer": "y"}, {"answer": "y"}]}, "y", ("x", "y", "y")),
        ({"answer": "b", "references": ["a", "b"]}, "b", ("a", "b")),
        ({"answer": "c", "references": ["a", "b"]}, "c", ("c", "a", "b")),
        ({"answer": '["a"]'}, '["a"]', ('["a"]',)),
    ],
)
def test_the_answer_is_the_given_or_the_most_frequent_one(cells: dict, answer: str, references: tuple) -> None:
    row = read({"image": "a", **cells}, {"image": "image"} | {name: name for name in cells})
    assert (row.answer, row.references) == (answer, references)


def test_category_id_and_system_are_kept() -> None:
    theirs = PLAIN | {"category": "kind", "id": "nr", "system": "role"}
    row = read({"question": "?", "answer": "a", "kind": "counting", "nr": 7, "role": "Be brief."}, theirs)
    assert (row.category, row.id, row.system) == ("counting", "table/train/000000-7", "Be brief.")
    assert read({"question": "?", "answer": "a"}, theirs).id == "table/train/000000"


BAD: list[tuple[object, str]] = [
    ([], "wrong type"),
    ("text", "wrong type"),
    (None, "wrong type"),
    ({"image": "gone", "question": "?", "answer": "a"}, "missing picture"),
    ({"image": 3, "question": "?", "answer": "a"}, "missing picture"),
    ({"image": [None], "question": "?", "answer": "a"}, "missing picture"),
    ({"image": {"bytes": None, "path": None}, "question": "?", "answer": "a"}, "missing picture"),
    ({"image": {"other": 1}, "question": "?", "answer": "a"}, "missing picture"),
    ({"image": "a", "question": "", "answer": "a"}, "empty question"),
    ({"image": "a", "answer": "a"}, "empty question"),
    ({"image": "a", "question": ["?"], "answer": "a"}, "wrong type"),
    ({"image": "a", "question": "?", "answer": " "}, "empty answer"),
    ({"image": "a", "question": "?"}, "empty answer"),
    ({"image": "a", "question": "?", "answer": []}, "empty answer"),
    ({"image": "a", "question": "?", "answer": [None]}, "wrong type"),
    ({"image": "a", "question": "?", "answer": ["a"]}, "wrong type"),
    ({"image": "a", "question": "?", "answer": ["a", "b", "b"]}, "wrong type"),
    ({"image": "a", "question": "?", "answer": True}, "wrong type"),
    ({"image": "a", "question": "?", "answer": 1.5}, "wrong type"),
    ({"image": "a", "question": "?", "answer": {"x": 1}}, "wrong type"),
    ({"image": "a", "question": "<image> and <image>?", "answer": "a"}, "picture markers"),
    ({"image": "a", "question": "?", "answer": "see <image>"}, "picture markers"),
    ({"image": "a", "question": PICTURE, "answer": "a"}, "invalid text"),
]


@pytest.mark.parametrize(("record", "reason"), BAD)
def test_a_bad_record_is_rejected_with_its_reason(record: object, reason: str) -> None:
    row = read(record)
    assert isinstance(row, Rejected) and (row.reason, row.where) == (reason, "here")


def test_mending_a_row_changes_no_other_rows_id() -> None:
    good = {"question": "?", "answer": "a"}
    bad = [("1", RowError("broken line", "torn")), ("2", good | {"answer": ""}), ("3", good)]
    rows = list(numbered(bad, Columns("t", PLAIN, picture)))
    assert [type(row) for row in rows] == [Rejected, Rejected, Example]
    assert rows[2].id == "t/000002" and [row.where for row in rows] == ["1", "2", "3"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["bytes", "path", "answer"]), inner),
    max_leaves=6,
)


@given(st.lists(JSON | st.dictionaries(st.sampled_from([*PLAIN, "kind", "nr", "all"]), JSON), max_size=5))
def test_whatever_the_records_are_each_is_a_row(records: list[Any]) -> None:
    theirs = PLAIN | {"references": "all", "category": "kind", "id": "nr"}
    rows = list(numbered(zip(map(str, itertools.count()), records, strict=False), Columns("t", theirs, picture)))
    assert len(rows) == len(records)
    for row in rows:
        assert isinstance(row, Example) or row.reason in REASONS
        if isinstance(row, Example):
            assert row.answer.strip() and row.answer in row.references and row.id.startswith("t/")
