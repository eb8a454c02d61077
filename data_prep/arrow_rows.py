"""Records of parquet files and of the hub's sets as rows: named columns, or whole conversations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from data_prep.columns import Columns, Picture, held, mapping, numbered
from data_prep.conversations import ConversationFiles
from data_prep.example import Example
from data_prep.records import Record
from data_prep.rows import Row
from data_prep.sniff import Sample
from data_prep.sources import llava_conversations, messages, qwen_vl, sharegpt

FORMATS = (llava_conversations, messages, sharegpt, qwen_vl)
"""Sources whose conversations are also read here."""
CONVERSATIONS = ({"messages"}, {"conversations"}, {"prompt", "completion"})
"""Columns that make a row a conversation."""
FIRST = 20  # rows that say which format the others are in


def has_conversations(present: Sequence[str]) -> bool:
    """Whether rows of these columns may be conversations."""
    return any(keys <= set(present) for keys in CONVERSATIONS)


def check_columns(columns: Mapping[str, str] | None, present: Sequence[str], where: str) -> None:
    """Raises MendableErrors as `mapping` does, unless the rows may be conversations."""
    if columns or not has_conversations(present):
        mapping(columns, present, where)


def arrow_rows(
    name: str, records: Iterable[Record], columns: Mapping[str, str] | None, picture: Picture, where: str
) -> Iterator[Row]:
    """The records as rows whose ids begin with ``name``; ``where`` is the set.

    Conversations are read as the source does that recognises them, unless ``columns`` says otherwise.  Raises
    MendableErrors, before the first row, as `mapping` does.
    """
    records = iter(records)
    first = list(islice(records, FIRST))
    found = tuple(record for _, record in first if isinstance(record, dict))
    sample = Sample(Path(where), Path(where), "", found)
    example: Callable[[Any, str, int], Example]
    if not columns and (spoken := next((each for each in FORMATS if each.recognise(sample)), None)):
        example = _Conversations(name, spoken.FORMAT, picture)
    elif found:
        example = Columns(name, mapping(columns, list(found[0]), where), picture)
    else:
        example = Columns(name, {}, picture)  # no row, or none that can be read
    yield from numbered(chain(first, records), example)


class _Conversations:
    """Reads records of conversations, which hold their pictures or name them."""

    def __init__(self, name: str, spoken: ConversationFiles, picture: Picture) -> None:
        self._name, self._spoken, self._picture = name, spoken, picture

    def __call__(self, record: Any, where: str, number: int) -> Example:
        pictures: dict[str, Any] = {}

        def picture(name: str, where: str) -> Path | bytes:
            return held(pictures.get(name, name), self._picture, where)

        return self._spoken.example(f"{self._name}/{number:06d}", picture, _named(record, pictures), where)


def _named(value: Any, pictures: dict[str, Any]) -> Any:
    """The value with a name in place of each picture that it holds; ``pictures`` gets them by these names."""
    if isinstance(value, list):
        return [_named(each, pictures) for each in value]
    if isinstance(value, bytes) or (isinstance(value, dict) and value.keys() == {"bytes", "path"}):
        name = f"\0{len(pictures)}"  # no file has such a name
        pictures[name] = value
        return name
    return {key: _named(each, pictures) for key, each in value.items()} if isinstance(value, dict) else value
