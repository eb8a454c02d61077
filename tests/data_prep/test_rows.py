"""Rows: each record becomes one, example or rejection, and whoever can do without none says so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.example import Example
from data_prep.rows import REASONS, Rejected, RowError, each, strict
from mlplora_vlm.errors import MendableError


def example(record: str, where: str) -> Example:
    if record == "bad":
        raise RowError("empty answer", "nothing to learn", "another place")
    return Example(record, (), "?", "a", ("a",), "open", repairs=("mended",))


BROKEN = RowError("broken line", "not JSON")


@given(st.lists(st.sampled_from(["good", "bad", "broken"])))
def test_every_record_is_a_row_in_its_place(kinds: list[str]) -> None:
    records = [(f"file:{number}", BROKEN if kind == "broken" else kind) for number, kind in enumerate(kinds)]
    rows = list(each(records, example))
    assert [row.where for row in rows] == [where for where, _ in records]
    for kind, row in zip(kinds, rows, strict=True):
        if kind == "good":
            assert isinstance(row, Example) and row.repairs == ("mended",)
        else:
            reason, detail = ("empty answer", "nothing to learn") if kind == "bad" else ("broken line", "not JSON")
            assert row == Rejected(row.where, reason, detail) and reason in REASONS  # type: ignore[arg-type]


def test_rows_are_read_as_they_are_asked_for() -> None:
    def records():
        yield "file:1", "good"
        raise MendableError("the file breaks off", "file")

    rows = each(records(), example)
    assert isinstance(next(rows), Example)
    with pytest.raises(MendableError, match="breaks off"):  # damage to the file is no bad row
        next(rows)


def test_another_error_is_no_bad_row() -> None:
    def faulty(record: str, where: str) -> Example:
        raise KeyError(record)

    with pytest.raises(KeyError):
        list(each([("file:1", "good")], faulty))


def test_strict_rows_are_all_or_nothing() -> None:
    records = [("file:1", "good"), ("file:2", "bad"), ("file:3", "good")]
    rows = strict(each(records, example))
    assert next(rows).where == "file:1"
    with pytest.raises(RowError, match="nothing to learn") as error:
        next(rows)
    assert (error.value.where, error.value.reason) == ("file:2", "empty answer") and "mend the row" in error.value.fix
    assert len(list(strict(each(records[::2], example)))) == 2
