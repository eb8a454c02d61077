"""Fields by name and type: what is missing or of another kind rejects the row, and says which."""

from __future__ import annotations

from typing import Any

import pytest

from data_prep.fields import field, texts
from data_prep.rows import RowError


@pytest.mark.parametrize("row", [{}, [], "a", None, 7, {"b": 1}])
def test_a_missing_field_is_named_with_its_row(row: Any) -> None:
    with pytest.raises(RowError, match="lacks 'a'") as error:
        field(row, "a", int, "file, row 7")
    assert (error.value.reason, error.value.where) == ("missing field", "file, row 7")


@pytest.mark.parametrize(
    ("kind", "right", "others"),
    [
        (int, 3, [True, None, "1", 1.0, []]),
        (str, "", [1, None, b"text", ["a"]]),
        (list, [], [(), {}, "ab", None]),
        (dict, {}, [[], "{}", None, 0]),
    ],
)
def test_a_field_of_another_kind_is_shown_in_short(kind: type, right: Any, others: list[Any]) -> None:
    assert field({"a": right}, "a", kind, "row 7") == right
    for other in [*others, *(each * 5000 for each in others if isinstance(each, str | list))]:
        if type(other) is kind:
            continue
        with pytest.raises(RowError, match=r"'a' is .*, not (text|a whole number|a list|an object)") as error:
            field({"a": other}, "a", kind, "row 7")
        assert error.value.reason == "wrong type" and len(error.value.what) < 200


@pytest.mark.parametrize("values", [[], [1], "text", ["a", None], None, [["a"]]])
def test_texts_are_a_list_of_one_or_more(values: Any) -> None:
    with pytest.raises(RowError, match="not a list") as error:
        texts({"a": values}, "a", "row 7")
    assert (error.value.reason, error.value.where) == ("wrong type", "row 7")
    assert texts({"a": ["b", "b"]}, "a", "row 7") == ("b", "b")
