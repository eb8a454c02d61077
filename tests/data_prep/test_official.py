"""Official files: what a damaged one is answered with, and that no row reaches a picture outside its folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data_prep.official import Official, Pictures
from mlplora_vlm.errors import MendableError, MendableErrors

SET = Official("the set", "https://example.org/set")


def test_a_folder_must_be_given() -> None:
    with pytest.raises(MendableError, match="the set needs a folder") as error:
        SET.given(None)
    assert "example.org" in error.value.fix
    assert SET.given(Path("here")) == Path("here")


def test_every_missing_file_is_named_with_its_origin(tmp_path: Path) -> None:
    wanted = [(tmp_path / name, f"{name}.zip") for name in ("a", "b", "c")]
    (tmp_path / "b").mkdir()
    with pytest.raises(MendableErrors) as error:
        SET.present(wanted)
    assert [part.fix for part in error.value.errors] == ["unpack it there from a.zip", "unpack it there from c.zip"]
    for path, _ in wanted:
        path.mkdir(exist_ok=True)
    SET.present(wanted)


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'{"rows": 3}', b'{"rows": {}}', b"\xff", b"", b"null", b"[" * 100_000], ids=repr
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(MendableError, match="not an official the set file") as error:
        SET.rows(path, "rows")
    assert error.value.where == str(path)


def test_rows_are_a_list_or_under_a_key(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "key.json").write_text(json.dumps({"rows": ["é"]}))
    assert SET.rows(tmp_path / "list.json") == [1, 2]
    assert SET.rows(tmp_path / "key.json", "rows") == ["é"]


@pytest.mark.parametrize(
    ("row", "says"),
    [({}, "lacks 'a'"), ([], "lacks 'a'"), ("a", "lacks 'a'"), ({"a": True}, "True, not a whole number")]
    + [({"a": value}, "not a whole number") for value in (None, "1", 1.0, [])],
)
def test_a_field_of_another_kind_is_named_with_its_row(row: object, says: str) -> None:
    with pytest.raises(MendableError, match=says) as error:
        SET.field(row, "a", int, "file, row 7")
    assert error.value.where == "file, row 7"


@pytest.mark.parametrize("texts", [[], [1], "text", ["a", None]])
def test_texts_are_a_list_of_one_or_more(texts: object) -> None:
    with pytest.raises(MendableError, match="not a list"):
        SET.texts({"a": texts}, "a", "row 7")
    assert SET.texts({"a": ["b", "b"]}, "a", "row 7") == ("b", "b")


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    """A folder with pictures, beside one whose file no row may reach."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    (inside / "deep").mkdir(parents=True)
    outside.mkdir()
    for path in (inside / "a.jpg", inside / "deep" / "b.jpg", outside / "secret.jpg"):
        path.write_bytes(b"not opened here")
    (inside / "linked.jpg").symlink_to(outside / "secret.jpg")
    (inside / "linked").symlink_to(outside)
    (inside / "alias.jpg").symlink_to(inside / "a.jpg")
    return Pictures(inside, "unpack it")


def test_pictures_inside_are_found(pictures: Pictures) -> None:
    for name in ("a.jpg", "deep/b.jpg", "alias.jpg", "./a.jpg"):
        assert pictures(name, "row 7") == pictures.folder / name


@pytest.mark.parametrize(
    "name", ["../outside/secret.jpg", "deep/../../outside/secret.jpg", "linked.jpg", "linked/secret.jpg", "{}/a.jpg"]
)
def test_pictures_outside_are_refused(pictures: Pictures, name: str) -> None:
    with pytest.raises(MendableError, match="lies outside") as error:
        pictures(name.format(pictures.folder), "row 7")
    assert error.value.where == "row 7"


@pytest.mark.parametrize("name", ["", ".", "deep", "none.jpg", "a\0.jpg", "\ud800.jpg", "x" * 300])
def test_no_picture_is_missing(pictures: Pictures, name: str) -> None:
    with pytest.raises(MendableError, match="a picture is missing") as error:
        pictures(name, "row 7")
    assert error.value.fix == "unpack it"


def test_the_folder_itself_may_be_a_link(pictures: Pictures, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(pictures.folder)
    assert Pictures(tmp_path / "link", "")("deep/b.jpg", "row 7").is_file()
