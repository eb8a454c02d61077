"""A record with named columns as an `Example`: what tables, folders of pictures, parquet files and hub sets share.

Which of the columns is our image, question, answer, references, category, id or system is said by the key ``columns``
of a recipe, or else by the columns' own names.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data_prep.example import Example
from data_prep.records import Record
from data_prep.references import References
from data_prep.rows import Row, RowError, each
from data_prep.training_keys import BOXES, TABLE_KEYS, check_row
from data_prep.turns import Conversation, marked, to_example
from mlplora_vlm.errors import MendableError, MendableErrors, did_you_mean

ALIASES: dict[str, tuple[str, ...]] = {
    "image": ("images", "image_path", "file_name"),
    "question": ("query", "prompt"),
    "answer": ("label", "caption", "text"),
    "references": ("answers", "captions"),
    "category": (),
    "id": (),
    "system": (),
}
"""Our names, each with the columns that are taken for it where none has our name and the recipe does not say."""

Picture = Callable[[str, str], Path | bytes]
"""(a picture's name, where) → the picture; raises RowError, naming ``where``."""


def mapping(given: Mapping[str, str] | None, present: Sequence[str], where: str) -> dict[str, str]:
    """Our name → the column, of all that there is a column for: as ``given``, of our name, or the only alias there is.

    Raises MendableErrors for a key of ``given`` that is none of our names, a column that is not among those
    ``present``, several aliases to choose from, and where there is no answer, or neither picture nor question.
    """
    found, errors = dict(given or {}), list[MendableError]()
    has = f"it has {_few(present)}"
    for ours, theirs in found.items():
        if ours not in ALIASES:
            what = f"columns has no key {ours!r}{did_you_mean(ours, ALIASES)}"
            errors.append(MendableError(what, "data.columns", f"one of: {', '.join(ALIASES)}"))
        elif theirs not in present:
            errors.append(MendableError(f"there is no column {theirs!r}{did_you_mean(theirs, present)}", where, has))
    free = [column for column in present if column not in found.values()]
    for ours in ALIASES.keys() - found.keys():
        candidates = [ours] if ours in free else [alias for alias in ALIASES[ours] if alias in free]
        if len(candidates) > 1:
            what = f"the {ours} may be in any of the columns {', '.join(candidates)}"
            errors.append(MendableError(what, where, f"say which: columns: {{{ours}: {candidates[0]}}}"))
        elif candidates:
            found[ours] = candidates[0]
    if not errors:
        errors += [_lacking(names, present, where, has) for names in _NEEDED if not found.keys() & set(names)]
    if errors:
        raise errors[0] if len(errors) == 1 else MendableErrors(errors)
    return {ours: found[ours] for ours in ALIASES if ours in found}


_NEEDED = (("answer", "references"), ("image", "question"))


def _few(columns: Sequence[str]) -> str:
    return f"{', '.join(map(repr, columns[:20]))}{', …' * (len(columns) > 20)}"


def _lacking(names: tuple[str, ...], present: Sequence[str], where: str, has: str) -> MendableError:
    near = next(filter(None, (did_you_mean(name, present) for name in names)), "")
    what = f"no column is the {' or the '.join(names)}{near}"
    return MendableError(what, where, f"{has}; say which: columns: {{{names[0]}: …}}")


def described(present: Sequence[str]) -> str | None:
    """What the columns hold, as a sentence of those that need no mapping; None where it takes one."""
    try:
        found = mapping(None, present, "")
    except MendableError:
        return None
    unused = [column for column in present if column not in found.values()]
    return f"columns for {', '.join(found)}{f' (not read: {_few(unused)})' if unused else ''}"


def pictures_in(folder: Path, pictures: Path | None = None, urls: bool = False) -> References:
    """The pictures that a row names, their names starting from ``folder/pictures``; raises where that is no folder."""
    shown = folder / (pictures or "")
    if not shown.is_dir():
        raise MendableError("there is no folder of pictures", str(shown), "see data.pictures")
    return References(shown, urls)


def numbered(records: Iterable[Record], example: Callable[[Any, str, int], Example]) -> Iterator[Row]:
    """`each` of the records by its number; broken ones count too, so that mending one changes no other row's id."""
    number = -1

    def counted() -> Iterator[Record]:
        nonlocal number
        for record in records:
            number += 1
            yield record

    yield from each(counted(), lambda record, where: example(record, where, number))


def held(value: Any, picture: Picture, where: str) -> Path | bytes:
    """What a cell has for a picture: the encoded file, a ``{bytes, path}`` of `datasets`, or a name for ``picture``."""
    if isinstance(value, dict) and value.keys() == {"bytes", "path"}:
        value = value["path"] if value["bytes"] is None else value["bytes"]
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise RowError("missing picture", f"a picture is {value!r:.80}, neither a file nor the name of one", where)
    return picture(value, where)


@dataclass(frozen=True)
class Columns:
    """Reads the records of one table."""

    name: str
    """What its rows' ids begin with."""
    theirs: Mapping[str, str]
    """Our name → the column, as `mapping` gives it."""
    picture: Picture

    def __call__(self, record: Any, where: str, number: int) -> Example:
        """The record's question and answer; raises RowError, naming ``where``.

        Where no column is the answer, the reference that stands there most often is taught, the first of equals.  An
        ``<image>`` in the question says where a picture stands.
        """
        if not isinstance(record, dict):
            raise RowError("wrong type", f"a row is {record!r:.80}, not an object with columns", where)
        boxed = any(box in cell for cell in record.values() if isinstance(cell, str) for box in BOXES)
        check_row(record, where, (*TABLE_KEYS, "objects") if boxed else TABLE_KEYS, self.theirs.values())
        pictures, (answer, references) = self._pictures(record), self._answers(record, where)
        said = marked([("user", self._question(record, where)), ("assistant", answer)], where, to_front=True)
        row = Conversation(
            said, [str(place) for place in range(len(pictures))], self._text(record, "system", where), leading=True
        )
        own = self._text(record, "id", where)
        example = to_example(
            f"{self.name}/{number:06d}{f'-{own}' if own else ''}",  # their ids alone might repeat
            row,
            lambda place, where: held(pictures[int(place)], self.picture, where),
            where,
        )
        category = self._text(record, "category", where) or example.category
        return replace(example, references=references, category=category)

    def names(self, record: Any) -> list[str]:
        """The names by which the record calls its pictures, whatever else may be wrong with it."""
        return [each for each in self._pictures(record) if isinstance(each, str)] if isinstance(record, dict) else []

    def _value(self, record: dict[str, Any], ours: str) -> Any:
        return record.get(self.theirs[ours]) if ours in self.theirs else None

    def _text(self, record: dict[str, Any], ours: str, where: str) -> str:
        """The cell's text, a whole number's digits, or nothing."""
        value = self._value(record, ours)
        return "" if value is None else _text(value, self.theirs[ours], where)

    def _question(self, record: dict[str, Any], where: str) -> str:
        question = self._text(record, "question", where)
        if "question" in self.theirs and not question.strip():
            raise RowError("empty question", f"the column {self.theirs['question']!r} is empty", where)
        return question

    def _answers(self, record: dict[str, Any], where: str) -> tuple[str, tuple[str, ...]]:
        """(what is taught, all that count as right)."""
        own, references = self._own_answer(record, where), self._references(record, where)
        if "answer" in self.theirs:
            return own, references if own in references else (own, *references)
        if not references:
            raise RowError("empty answer", "an answer is empty: there is nothing to learn", where)
        return Counter(references).most_common(1)[0][0], references

    def _own_answer(self, record: dict[str, Any], where: str) -> str:
        """The cell of the answer: one text, since of several nothing says which is to be taught."""
        column, value = self.theirs.get("answer"), self._value(record, "answer")
        if column and value in (None, []):
            raise RowError("empty answer", "an answer is empty: there is nothing to learn", where)
        if isinstance(value, list):
            what = f"expected one text in the column {column!r}, got a list of {len(value)}: {value!r:.80}"
            raise RowError("wrong type", f"{what}; name it with columns: {{references: {column}}}", where)
        return _answer(value, str(column), where) if column else ""

    def _references(self, record: dict[str, Any], where: str) -> tuple[str, ...]:
        """The cell's text or texts; of objects, as VQAv2's annotators give them, the one called ``answer``."""
        value = _listed(self._value(record, "references"))
        if value is None:
            return ()
        column = self.theirs["references"]
        return tuple(_answer(each, column, where) for each in (value if isinstance(value, list) else [value]))

    def _pictures(self, record: dict[str, Any]) -> list[Any]:
        value = _listed(self._value(record, "image"))
        if value is None or value == "":
            return []
        return value if isinstance(value, list) else [value]


def _listed(value: Any) -> Any:
    """The value, or what a cell of text holds as a JSON list of texts: CSV has no lists of its own."""
    if isinstance(value, str) and value.lstrip()[:1] == "[":
        try:
            listed = json.loads(value)
        except (ValueError, RecursionError):
            return value
        if isinstance(listed, list) and all(isinstance(each, str) for each in listed):
            return listed
    return value


def _answer(value: Any, column: str, where: str) -> str:
    return _text(value["answer"] if isinstance(value, dict) and "answer" in value else value, column, where)


def _text(value: Any, column: str, where: str) -> str:
    if type(value) is int:  # by type: true is no number
        return str(value)
    if not isinstance(value, str):
        raise RowError("wrong type", f"the column {column!r} holds {value!r:.80}, not text", where)
    return value
