"""JSON lists read window by window are what `json` makes of the whole file; so are JSON lines."""

from __future__ import annotations

import json
import tracemalloc
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_prep import records as reader
from data_prep.records import find_file, records
from data_prep.rows import RowError
from mlplora_vlm.errors import MendableError

TEXTS = st.text(st.characters(), max_size=12) | st.sampled_from(
    ["\ud83d", "\ude00", "\U0001f600", '"', "\\", "\\u12", "]", "}", ",", "a" * 300, "\n", "é", "\ufeff", "/"]
)
NUMBERS = st.one_of(
    st.integers(),
    st.sampled_from([10**30, -(2**64), 0, 1]),
    st.floats(allow_nan=False),
    st.sampled_from([1e-5, 1e300, -1e-300, float("inf"), float("-inf"), -0.0]),
)
VALUES = st.recursive(
    NUMBERS | TEXTS | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
STEPS = st.integers(1, 64)
SPACE = st.text(" \t\r\n", max_size=30)

LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("records")


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape"))
    return path


def read(path: Path, step: int) -> tuple[list[Any], MendableError | None]:
    """The records, with windows of so many characters, and the error that ended them."""
    found: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "_STEP", step)
        try:
            found.extend(record for _, record in records(path))
        except MendableError as error:
            return found, error
    return found, None


def same(found: Any, expected: Any) -> bool:
    """Whether the values are equal, also in type and sign."""
    return repr(found) == repr(expected)


@settings(deadline=None)
@given(st.lists(VALUES, max_size=6), STEPS, SPACE, st.booleans(), st.sampled_from([None, 0, 3]), st.booleans())
@example([1e-05, 1e300, float("-inf"), True], 3, "", True, None, False)
@example(["\ud83d\ude00"], 5, "", True, None, True)  # half of the pair is in one window, half in the next
def test_a_list_is_what_json_makes_of_it(folder, rows, step, space, ascii_only, indent, marked) -> None:  # type: ignore[no-untyped-def]
    text = json.dumps(rows, ensure_ascii=ascii_only, indent=indent)
    text = "\ufeff" * marked + space + text.replace("\n", space + "\n") + space
    content = text.encode("utf-8", "surrogatepass")
    expected = json.loads(content.decode("utf-8-sig", "surrogateescape"))
    found, error = read(written(folder / "list.json", content), step)
    assert error is None and same(found, expected)


SIGNS = [*'[]{},:"\\ \n', "1", "-", "1e5", "0.5", "1E", "null", "nul", "true", "NaN", "-Infinity", "\\ud83d", "x"]


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from([*SIGNS, '"a"', '{"a":1}', "é", "\udcff"]), max_size=12).map("".join), STEPS)
@example('{"a":1}] garbage', 7)
@example('"a' + "b" * 200, 9)
@example('{"a":' + "1" * 5000 + "}]", 50)  # more digits than Python reads
def test_whatever_begins_like_a_list_is_read_as_json_does_or_refused(folder, text: str, step: int) -> None:  # type: ignore[no-untyped-def]
    text = f"[{text}"
    try:
        expected = json.loads(text)
    except ValueError:
        expected = None
    found, error = read(written(folder / "any.json", text), step)
    if expected is None:
        assert error is not None and error.where.rpartition(":")[0] == str(folder / "any.json")
        assert f"breaks off after {len(found)} rows" in error.what
    else:
        assert error is None and same(found, expected)


@settings(deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=5), STEPS, st.data())
def test_the_rows_before_a_torn_end_are_whole(folder, rows, step, data) -> None:  # type: ignore[no-untyped-def]
    text = json.dumps(rows)
    cut = text[: data.draw(st.integers(1, len(text) - 1))]
    found, error = read(written(folder / "torn.json", cut), step)
    assert error is not None and f"after {len(found)} rows" in error.what and error.where.endswith("torn.json:1")
    assert same(found[:-1], rows[: len(found)][:-1])  # the last may be 1 of 12
    assert not found or same(found[-1], rows[len(found) - 1]) or isinstance(found[-1], int | float)


@settings(deadline=None)
@given(st.lists(VALUES, max_size=6), st.sampled_from(["\n", "\r\n", "\n\n", "\r\n \r\n"]), st.booleans(), st.booleans())
def test_lines_are_what_json_makes_of_each(folder, rows, between, marked, ends) -> None:  # type: ignore[no-untyped-def]
    text = "\ufeff" * marked + between.join(map(json.dumps, [{"first": 1}, *rows])) + between * ends
    found, error = read(written(folder / "lines.jsonl", text), 64)
    assert error is None and same(found, [{"first": 1}, *rows])


def test_a_broken_line_costs_no_other(tmp_path: Path) -> None:
    content = b'{"a": 1}\n{"a": \n\n\xff{}\n{"a": 2}'
    rows = list(records(written(tmp_path / "t.jsonl", content)))
    assert [where for where, _ in rows] == [f"{tmp_path}/t.jsonl:{line}" for line in (1, 2, 4, 5)]
    assert [type(record) for _, record in rows] == [dict, RowError, RowError, dict]
    assert rows[1][1].reason == rows[2][1].reason == "broken line"


def test_what_is_neither_is_refused_at_its_first_line(tmp_path: Path) -> None:
    with pytest.raises(MendableError, match="neither JSON lines nor a JSON list") as error:
        list(records(written(tmp_path / "t.jsonl", "a,b\n1,2\n")))
    assert error.value.where == f"{tmp_path}/t.jsonl:1"


@pytest.mark.parametrize("step", [16, 1 << 16])
@pytest.mark.parametrize("spaces", [0, 300])
def test_a_broken_file_is_refused_at_the_line_that_breaks_it(tmp_path: Path, step: int, spaces: int) -> None:
    rows = [json.dumps({"a": "x" * 30}) for _ in range(20)]
    rows[13] = '{"a": 1,, ' + " " * spaces + "}"
    found, error = read(written(tmp_path / "t.json", "[\n" + ",\n".join(rows) + "]"), step)
    assert len(found) == 13 and error is not None and error.where == f"{tmp_path}/t.json:15"
    found, error = read(written(tmp_path / "t.json", '{\n "a": [\n  1,\n  2,,\n ]}'), step)
    assert not found and error is not None and error.where == f"{tmp_path}/t.json:4"


def test_one_object_over_several_lines_and_a_pointer_are_called_so(tmp_path: Path) -> None:
    _, error = read(written(tmp_path / "t.json", json.dumps({"a": [1]}, indent=1)), 64)
    assert error is not None and "one JSON object" in error.what
    _, error = read(written(tmp_path / "t.json", LFS_POINTER), 64)
    assert error is not None and "git-LFS pointer" in error.what and "git lfs pull" in error.fix


@pytest.mark.parametrize("step", [16, 1 << 16])
def test_a_row_that_is_nested_too_deeply_costs_no_other(tmp_path: Path, step: int) -> None:
    deep = '{"a ]\\"} \\\\": ' * 3000 + '"}]\\\\"' + "}" * 3000
    content = f'[{{"a": 1}}, {deep}, {"[" * 5000}{"]" * 5000}, {{"a": 2}}]'
    found, error = read(written(tmp_path / "t.json", content), step)
    assert error is None and [type(record) for record in found] == [dict, RowError, RowError, dict]
    assert found[1].reason == "wrong type" and "too deeply" in found[1].what and found[3] == {"a": 2}
    found, error = read(written(tmp_path / "t.json", content[: len(content) // 2]), step)
    assert len(found) == 1 and error is not None and "has no end" in error.what


def test_a_line_that_is_nested_too_deeply_costs_no_other(tmp_path: Path) -> None:
    deep = "[" * 5000 + "]" * 5000
    found, error = read(written(tmp_path / "t.jsonl", f'{deep}\n{{"a": {deep}}}\n{{"a": 2}}\n'), 64)
    assert error is None and [type(record) for record in found] == [RowError, RowError, dict]


def test_lines_of_which_the_first_is_a_list_are_lines(tmp_path: Path) -> None:
    found, _ = read(written(tmp_path / "t.jsonl", '\n["]", {"a": 1}]\n{"a": 2}\n'), 64)
    assert found == [["]", {"a": 1}], {"a": 2}]
    for text in ('[{"a": 1}, {"a": 2}]\n', '[\n{"a": 1},\n{"a": 2}\n]\n', '[{"a": 1},\n{"a": 2}]'):
        assert read(written(tmp_path / "t.jsonl", text), 64) == ([{"a": 1}, {"a": 2}], None)
    found, error = read(written(tmp_path / "t.json", '[{"a": 1}]\n[{"a": 2}]\n'), 64)  # two lists, one after the other
    assert found == [{"a": 1}] and error is not None and "after 1 rows" in error.what


def test_places_are_named(tmp_path: Path) -> None:
    assert [where for where, _ in records(written(tmp_path / "t.json", "[1, 2]"))] == [
        f"{tmp_path}/t.json, row 0",
        f"{tmp_path}/t.json, row 1",
    ]


def test_memory_is_that_of_a_row_and_not_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row, long = json.dumps({"a": "x" * 2000}), json.dumps({"a": "y" * 300_000})
    path, seen = tmp_path / "large.json", list[int]()
    with path.open("w") as file:
        file.write("[" + ",".join([row] * 4000 + [long] + [row] * 4000) + "]")
    assert path.stat().st_size > 16_000_000
    more = reader._Window._more

    def watched(window: Any) -> bool:
        found = more(window)
        seen.append(len(window._text))
        return found

    monkeypatch.setattr(reader._Window, "_more", watched)
    tracemalloc.start()
    assert sum(1 for _ in records(path)) == 8001
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert max(seen) < 4 * len(long) and max(seen[-50:]) < 3 * (1 << 16)  # a long row is forgotten
    assert peak < 8_000_000


def test_a_quote_that_is_never_closed_does_not_take_all_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_LARGEST", 100_000)
    path = written(tmp_path / "open.json", '[{"a": "' + "x" * 3_000_000)
    with pytest.raises(MendableError, match="never closed"):
        list(records(path))
    assert len(list(islice(records(written(path, json.dumps(["x" * 90_000] * 9))), 9))) == 9


def test_the_file_is_found_by_name_by_split_or_alone(tmp_path: Path) -> None:
    suffixes = (".json", ".jsonl")
    with pytest.raises(MendableError, match=r"no file that ends in \.json or \.jsonl"):
        find_file(tmp_path, None, "train", suffixes)
    only = written(tmp_path / "mine.jsonl", "{}")
    assert find_file(tmp_path, None, "train", suffixes) == only
    split = written(tmp_path / "train.json", "[]")
    assert find_file(tmp_path, None, "train", suffixes) == split
    assert find_file(tmp_path, "mine.jsonl", "train", suffixes) == only
    with pytest.raises(MendableError, match=r"several files \(mine\.jsonl, train\.json\)"):
        find_file(tmp_path, None, "val", suffixes)
    with pytest.raises(MendableError, match=r"no file 'other\.json'"):
        find_file(tmp_path, "other.json", "train", suffixes)
    with pytest.raises(MendableError, match="needs a folder"):
        find_file(None, None, "train", suffixes)
