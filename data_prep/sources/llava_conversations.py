"""Conversations in LLaVA's JSON format, such as llava_v1_5_mix665k.json or one's own: several turns, or text alone.

The folder holds one JSON file, of any name, and the pictures that it names by paths relative to the folder.  A row has
``conversations`` (``from``: human and gpt in turn, ``value``: the text) and, unless it is text alone, ``image``, one
path or a list; as many ``<image>`` markers begin or end the first question.
Format: github.com/haotian-liu/LLaVA at commit 9ad7265, docs/Finetune_Custom_Data.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.example import Example
from data_prep.official import Official, Pictures
from data_prep.sources import known_split
from mlplora_vlm.errors import MendableError

SPLITS = ("train",)
LLAVA = Official("LLaVA conversations", "https://huggingface.co/datasets/liuhaotian/LLaVA-Instruct-150K")
MARKER = "<image>"


def check(split: str, folder: Path | None = None) -> None:
    """Raises MendableError unless the folder holds exactly one JSON file; opens nothing."""
    known_split("llava_conversations", split, SPLITS)
    _file(LLAVA.given(folder))


def rows(split: str, folder: Path | None = None) -> Iterator[Example]:
    """The file's conversations in its order; the last question is the row's own, those before it are ``earlier``.

    The pictures stand before the first question wherever the markers were, as in LLaVA's own training.  Raises
    MendableError, naming file and row, where human and gpt do not take turns, where the markers do not fit the
    pictures, and where a picture is missing or lies outside the folder.
    """
    check(split, folder)
    folder = LLAVA.given(folder)
    path = _file(folder)
    pictures = Pictures(folder, "put the pictures beside the JSON file, under the paths that it names")
    for number, row in enumerate(LLAVA.rows(path)):
        where = f"{path}, row {number}"
        images, turns = _images(row, where), _turns(row, where)
        question, answer = turns[0]
        turns[0] = _without_markers(question, len(images), where), answer
        if any(MARKER in text for turn in turns for text in turn):
            raise MendableError(
                f"a row holds {MARKER} elsewhere than at the beginning or the end of its first question",
                where,
                "move the marker there, or take the row out",
            )
        yield Example(
            id=f"llava_conversations/{split}/{number:06d}",  # the file's own ids repeat
            images=tuple(pictures(image, where) for image in images),
            question=turns[-1][0],
            answer=turns[-1][1],
            references=(turns[-1][1],),
            category="picture" if images else "text",
            earlier=tuple(turns[:-1]),
        )


def _file(folder: Path) -> Path:
    found = sorted(folder.glob("*.json"))
    if len(found) != 1:
        what = f"several JSON files ({', '.join(path.name for path in found)})" if found else "no JSON file"
        fix = f"put one there, such as llava_v1_5_mix665k.json ({LLAVA.page}), beside the pictures that it names"
        raise MendableError(f"the folder of conversations holds {what}", str(folder), fix)
    return found[0]


def _images(row: Any, where: str) -> tuple[str, ...]:
    if not isinstance(row, dict) or "image" not in row:
        return ()
    if isinstance(row["image"], list):
        return LLAVA.texts(row, "image", where)
    return (LLAVA.field(row, "image", str, where),)


def _turns(row: Any, where: str) -> list[tuple[str, str]]:
    """(question, answer) pairs, one or more."""
    parts = LLAVA.field(row, "conversations", list, where)
    roles = [LLAVA.field(part, "from", str, where) for part in parts]
    if not roles or roles != ["human", "gpt"] * (len(roles) // 2):
        raise MendableError(
            f"human and gpt do not take turns: {roles!r:.80}",
            where,
            "begin with human, end with gpt, and let nobody speak twice in a row",
        )
    texts = [LLAVA.field(part, "value", str, where) for part in parts]
    return list(zip(texts[::2], texts[1::2], strict=True))


def _without_markers(question: str, pictures: int, where: str) -> str:
    """The first question without the markers at its beginning and its end, of which there must be ``pictures``."""
    text, markers = question.strip(), 0
    while text.startswith(MARKER) or text.endswith(MARKER):
        text = text.removeprefix(MARKER) if text.startswith(MARKER) else text.removesuffix(MARKER)
        text, markers = text.strip(), markers + 1
    if markers != pictures:
        raise MendableError(
            f"the first question has {markers} {MARKER} at its ends, for {pictures} pictures",
            where,
            "write one marker a picture",
        )
    return text
