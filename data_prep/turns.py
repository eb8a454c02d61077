"""What the formats of conversations share: roles in turn, markers that place pictures, and the `Example` of both."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import whitespace
from typing import Any

from data_prep.example import PICTURE, Example
from data_prep.fields import field, texts
from data_prep.rows import RowError

MARKER = "<image>"
UNPLACED = "picture markers missing: put before the first question"
"""The repair of a row whose pictures no marker places."""

ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
}
TOOLS = ("function_call", "observation", "function", "tool", "tool_call", "tool_response")


@dataclass(frozen=True)
class Conversation:
    """A row as its format has it: (role, text) turns, a `PICTURE` in the user's texts for each picture, in order."""

    said: Sequence[tuple[str, str]]
    pictures: Sequence[str]
    """As the row names them."""
    system: str = ""
    """Where the row has it beside its turns; a system turn goes before it."""
    entries: Sequence[Any] = ()
    """The row's own turns, as many as ``said``."""
    context: Collection[int] = ()
    """Numbers of the turns, from 0, whose texts are not learned."""
    leading: bool = False
    """Whether the format itself puts pictures without any sign before the first question."""


def spoken(record: Any, key: str, role: str, text: str, where: str) -> list[tuple[str, str]]:
    """The (role, text) of each entry of the list ``record[key]``; raises RowError for anything else."""
    entries = field(record, key, list, where)
    return [(field(entry, role, str, where), field(entry, text, str, where)) for entry in entries]


def marked(said: Sequence[tuple[str, str]], where: str, to_front: bool = False) -> list[tuple[str, str]]:
    """The turns with a `PICTURE` for each ``<image>`` in the user's texts.

    ``to_front``: the only one in a text goes to its front, as in LLaVA's own training; several stay where they stand
    (github.com/LLaVA-VL/LLaVA-NeXT at commit df17966, llava/train/train.py, preprocess_multimodal).
    """
    return [(role, _marked(plain(text, where), to_front) if is_user(role) else text) for role, text in said]


def is_user(role: str) -> bool:
    """Whether a turn of this role is a question."""
    return ROLES.get(role) == "user"


def plain(text: str, where: str) -> str:
    """The user's text; raises RowError where it holds the sign that stands for a picture among us."""
    if PICTURE in text:
        raise RowError("invalid text", f"a question holds U+FFFC, the sign of what is no text: {text!r:.80}", where)
    return text


def names(record: Any, key: str, where: str) -> tuple[str, ...]:
    """The pictures that the row names under ``key``: one, a list, or none; raises RowError for anything else."""
    value = record.get(key) if isinstance(record, dict) else None
    if value is None or value == [] or value == "":
        return ()
    return (value,) if isinstance(value, str) else texts(record, key, where)


def images_of(record: Any, where: str) -> tuple[str, ...]:
    """The pictures that the row names under ``image`` or ``images``; raises RowError where it does under both."""
    one, several = names(record, "image", where), names(record, "images", where)
    if one and several:
        raise RowError("picture markers", "pictures are named both under 'image' and under 'images'", where)
    return one or several


def system_of(record: Any, where: str) -> str:
    """The system's text where the row has it beside its turns, else an empty text."""
    return (record.get("system") and field(record, "system", str, where)) or ""


def to_example(name: str, row: Conversation, picture: Callable[[str, str], Path | bytes], where: str) -> Example:
    """The conversation under this id, its last question the row's own; raises RowError, naming ``where``.

    ``picture`` gives the picture of a name, and is asked last: it may fetch it.
    """
    system, turns = _in_turn(row.said, where)
    signs = sum(question.count(PICTURE) for question, _ in turns)
    if signs and signs != len(row.pictures):
        what = f"the questions mark {signs} pictures, and the row names {len(row.pictures)}"
        raise RowError("picture markers", what, where)
    unplaced = bool(row.pictures) and not signs
    if not all(question or (unplaced and not number) for number, (question, _) in enumerate(turns)):
        raise RowError("empty question", "a question has neither text nor a picture", where)
    question, answer = turns[-1]
    first = len(row.said) - 2 * len(turns) + 1  # answer: a system turn may come before it
    return Example(
        id=name,
        images=tuple(picture(each, where) for each in row.pictures),
        question=question,
        answer=answer,
        references=(answer,),
        category="picture" if row.pictures else "text",
        earlier=tuple(turns[:-1]),
        system=system or row.system,
        repairs=(UNPLACED,) if unplaced and not row.leading else (),
        context_turns=tuple(turn for turn in range(len(turns)) if first + 2 * turn in row.context),
    )


def _in_turn(said: Sequence[tuple[str, str]], where: str) -> tuple[str, list[tuple[str, str]]]:
    """The system's text, and (question, answer) pairs, one or more.

    A conversation that ends with a question is refused: there is nothing to learn from it, and to leave out its end
    would be to change what the row says.
    """
    if tools := [role for role, _ in said if role in TOOLS]:
        raise RowError("unsupported content", f"a turn of {tools[0]!r}: tool calls cannot be taught", where)
    roles = [ROLES.get(role, "") for role, _ in said]
    system = said[0][1] if roles[:1] == ["system"] else ""
    if roles[:1] == ["system"]:
        said, roles = said[1:], roles[1:]
    if not roles or roles != ["user", "assistant"] * (len(roles) // 2):
        found = ", ".join(repr(role) for role, _ in said[:6]) + ", …" * (len(said) > 6) if said else "nobody"
        what = f"user and assistant take turns, and the assistant has the last word; here speak {found:.200}"
        raise RowError("roles out of order", what, where)
    for role, (_, text) in zip(["system", *roles], [("system", system), *said], strict=True):
        if role != "user" and MARKER in text:
            raise RowError("picture markers", f"{MARKER} stands in the {role}'s text: {text!r:.80}", where)
        if role == "assistant" and not text.strip():
            raise RowError("empty answer", "an answer is empty: there is nothing to learn", where)
    questions = [_settled(text) for _, text in said[::2]]
    return system, list(zip(questions, [text for _, text in said[1::2]], strict=True))


def _marked(text: str, to_front: bool) -> str:
    if to_front and text.count(MARKER) == 1:
        text = MARKER + text.replace(MARKER, "")
    return text.replace(MARKER, PICTURE)


def _settled(question: str) -> str:
    """Without white space at its ends, nor between its text and the pictures before and after that."""
    rest = question.lstrip(PICTURE + whitespace)
    text = rest.rstrip(PICTURE + whitespace)
    before, after = question[: len(question) - len(rest)], rest[len(text) :]
    return PICTURE * before.count(PICTURE) + text.strip() + PICTURE * after.count(PICTURE)
