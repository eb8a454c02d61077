"""Official files: what is missing is named all at once, rows are read one by one, and a damaged file is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data_prep.official import Official
from data_prep.rows import RowError
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


DAMAGED = [b"{", b"[]", b'{"rows": 3}', b'{"rows": {}}', b'{"rows": [1, 2', b"\xff", b"", b"null", b"[" * 100_000]
DAMAGED += [b'{"rows": [1e99999999999999999999]}', b'{"rows": [1' + b"0" * 5000 + b"]}"]


@pytest.mark.parametrize("content", [*DAMAGED, b'{"rows": []}', b'{"rows": [1]} and more'], ids=lambda each: each[:20])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(MendableError, match="not an official the set file") as error:
        list(SET.rows(path, "rows"))
    assert error.value.where == str(path) and "\n" not in error.value.what and "example.org" in error.value.fix
    with pytest.raises(MendableError, match="not an official the set file"):
        list(SET.rows(tmp_path, "rows"))  # a folder


@pytest.mark.parametrize("content", [b"{", b"[]", b"[1]", b"{}", b"7", b"", b'{"a": 1, "b', b'{"a":' * 100_000])
def test_a_damaged_object_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file.json").write_bytes(content)
    with pytest.raises(MendableError, match="not an official the set file"):
        list(SET.entries(tmp_path / "file.json"))


def test_rows_are_a_list_or_under_a_key_or_of_an_object(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text("[1, [2]]")
    assert list(SET.rows(path)) == [(f"{path}, row 0", 1), (f"{path}, row 1", [2])]
    path.write_text(json.dumps({"info": [7], "rows": ["é", {"rows": [3]}], "more": {"rows": [4]}}))
    assert list(SET.rows(path, "rows", "picture")) == [
        (f"{path}, picture 0", "é"),
        (f"{path}, picture 1", {"rows": [3]}),
    ]
    path.write_text(json.dumps({"b": 1, "a.c": {"d": None}}))
    assert list(SET.entries(path)) == [
        (f"{path}, question b", ("b", 1)),
        (f"{path}, question a.c", ("a.c", {"d": None})),
    ]


def test_rows_are_there_before_the_whole_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text(f'{{"rows": [1, 2{" " * 200_000}')
    rows = SET.rows(path, "rows")
    assert [next(rows)[1], next(rows)[1]] == [1, 2]
    with pytest.raises(MendableError, match="or not all of it"):
        next(rows)


def test_a_number_too_large_for_a_machine_word_damages_no_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text(f"[{10**30}, 1e999, 3]")
    assert [row for _, row in SET.rows(path)][::2] == [10**30, 3]


def test_lines_are_rows_and_a_broken_one_is_an_error_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text('{"a": 1}\n\n{"a": \n7\n')
    (first, one), (second, broken), (_, last) = SET.lines(path)
    assert (first, one, second, last) == (f"{path}:1", {"a": 1}, f"{path}:3", 7) and isinstance(broken, RowError)


@pytest.mark.parametrize("content", [b"", b"\n", b"{", b"no json", b"[1, 2", b"\xff"])
def test_a_file_without_lines_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file.json").write_bytes(content)
    with pytest.raises(MendableError, match="not an official the set file"):
        list(SET.lines(tmp_path / "file.json"))
    with pytest.raises(MendableError, match="not an official the set file"):
        list(SET.lines(tmp_path))  # a folder


def test_an_object_may_stand_under_a_key(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text(json.dumps({"rows": [1], "kinds": {"b": 2, "a": 1}}))
    assert [entry for _, entry in SET.entries(path, "kind", "kinds")] == [("b", 2), ("a", 1)]
    with pytest.raises(MendableError, match="it holds no rows"):
        list(SET.entries(path, "kind", "other"))
