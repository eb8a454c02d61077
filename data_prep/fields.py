"""Reads a record's fields by name and type; what is missing or of another kind rejects the row."""

from __future__ import annotations

from typing import Any, TypeVar

from data_prep.rows import RowError

T = TypeVar("T")
_WORDS = {str: "text", int: "a whole number", list: "a list", dict: "an object"}


def field(record: Any, key: str, kind: type[T], where: str) -> T:
    """``record[key]``; raises RowError, naming ``where``, where it is missing or of another kind."""
    if not isinstance(record, dict) or key not in record:
        raise RowError("missing field", f"a row lacks {key!r}", where)
    value = record[key]
    if type(value) is not kind:  # by type: JSON's true is no number
        raise RowError("wrong type", f"a row's {key!r} is {value!r:.80}, not {_WORDS.get(kind, kind.__name__)}", where)
    return value


def texts(record: Any, key: str, where: str) -> tuple[str, ...]:
    """``record[key]`` where it is a list of one or more texts; raises as `field` does."""
    values = field(record, key, list, where)
    if not values or not all(isinstance(value, str) for value in values):
        raise RowError("wrong type", f"a row's {key!r} is {values!r:.80}, not a list of texts", where)
    return tuple(values)
