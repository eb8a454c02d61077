"""CSV and TSV files, whole and broken: every line of the file is in a row or in a rejection."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.csv_records import csv_columns, csv_records
from data_prep.rows import RowError
from mlplora_vlm.errors import MendableError


def read(folder: Path, content: str | bytes, name: str = "t.csv") -> list:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(csv_records(folder / name))


@pytest.mark.parametrize(
    "content",
    [
        'a,b\n1,"x\ny"\n',
        'a,b\r\n1,"x\ny"\r\n',
        '\ufeffa,b\n1,"x\ny"\n',
        'a;b\n1;"x\ny"\n',
        'a\tb\n1\t"x\ny"',
        '"a", b\n\n1,"x\ny"\n\n',
    ],
)
def test_the_usual_dialects_are_read(tmp_path: Path, content: str) -> None:
    ((where, record),) = read(tmp_path, content)
    assert record == {"a": "1", "b": "x\ny"} and csv_columns(tmp_path / "t.csv") == ("a", "b")
    assert where.endswith(("t.csv:2", "t.csv:3"))


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8"), max_size=8), min_size=3, max_size=3), max_size=6))
def test_what_pythons_own_writer_writes_is_read_back(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([["a", "b", "c"], *rows])
    found = read(tmp_path_factory.mktemp("csv"), text.getvalue())
    assert [list(record.values()) for _, record in found] == rows


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("1", "1 cells under 2 columns"),
        ("1,2,3", "3 cells under 2 columns"),
        ('1,"x"y', "expected after"),
        ("1,\udcff", "not in UTF-8"),
        (f'1,"{"x" * 200_000}"', "field larger"),
    ],
)
def test_a_broken_line_costs_no_other(tmp_path: Path, line: str, says: str) -> None:
    content = f"a,b\n1,2\n{line}\n3,4\n".encode("utf-8", "surrogateescape")
    first, (where, broken), last = read(tmp_path, content)
    assert first[1] == {"a": "1", "b": "2"} and last[1] == {"a": "3", "b": "4"}
    assert isinstance(broken, RowError) and broken.reason == "broken line" and says in broken.what
    assert where.endswith("t.csv:3")


def test_lines_that_an_open_quote_swallows_are_counted(tmp_path: Path) -> None:
    inside = read(tmp_path, 'a,b\n1,"open\n2,x\n3,"y"\n4,z\n')
    assert [where.rpartition(":")[2] for where, _ in inside] == ["2", "3", "4", "5"]
    assert [isinstance(record, RowError) for _, record in inside] == [True, True, True, False]
    assert "lines 2 to 4" in inside[0][1].what
    at_the_end = read(tmp_path, 'a,b\n1,x\n2,"open\n3,y\n')
    assert [isinstance(record, RowError) for _, record in at_the_end] == [False, True, True]
    endless = read(tmp_path, 'a,b\n1,"open\n' + "2,x\n" * 50_000)
    assert len(endless) == 50_001 and {type(record) for _, record in endless} == {RowError, dict}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "does not name the columns"),
        (b"\n1,2\n", "does not name the columns"),
        (b"a,a\n1,2\n", "two columns are called 'a'"),
        (b'a,"b\n1,2\n', "does not name the columns"),
        ("a,b\n1,2\n".encode("utf-16"), "does not name the columns"),
        (b"\xff\xd8\xff\xe0 a picture", "does not name the columns"),
    ],
)
def test_a_file_without_a_header_is_said_to_have_none(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(MendableError, match=says) as error:
        read(tmp_path, content)
    assert error.value.where.endswith("t.csv:1") and "UTF-8" in error.value.fix


def test_a_larger_cell_is_read_where_it_is_asked_for_and_the_limit_of_others_stays(tmp_path: Path) -> None:
    limit, cell = csv.field_size_limit(), "x" * 200_000
    (tmp_path / "t.tsv").write_text(f"a\tb\n1\t{cell}\n")
    [(_, record)] = csv_records(tmp_path / "t.tsv", largest=1 << 20)
    assert record == {"a": "1", "b": cell} and csv.field_size_limit() == limit
    [(_, refused)] = csv_records(tmp_path / "t.tsv")
    assert isinstance(refused, RowError)
