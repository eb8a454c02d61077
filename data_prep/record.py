"""A row as the prepared Arrow set holds it, and the example it stands for."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.example import Example, Picture
from data_prep.images import Resized
from data_prep.rows import Rejected, Row

if TYPE_CHECKING:
    from datasets import Features

Record = dict[str, Any]


def features() -> Features:
    """The set's columns.

    Read but not yet checked: ``turns`` are the source's words, ``digests`` tell files apart, and what the check finds
    is empty.  Checked: ``turns`` are asked in the prompt's words, ``digests`` are of the pixels, ``size`` and
    ``shrunk`` are (width, height) in pixels, and the rest are tokens.  ``reason`` is empty for a row that can be used.
    """
    from datasets import Features, List, Value

    text, number, side = Value("string"), Value("int32"), List(Value("int32"))
    return Features(
        {
            "id": text,
            "source": text,
            "where": text,
            "category": text,
            "system": text,
            "turns": List({"question": text, "answer": text}),
            "context_turns": List(number),
            "images": List({"path": text, "bytes": Value("large_binary"), "size": side, "shrunk": side}),
            "digests": List(text),
            "repairs": List(text),
            "length": number,
            "text_tokens": number,
            "picture_tokens": number,
            "label_tokens": number,
            "held_back": Value("bool"),
            "reason": text,
            "detail": text,
        }
    )


def to_record(row: Row, source: str) -> Record:
    """The row as it was read from the source of this name; a picture in memory is kept as PNG, pixel for pixel.

    A row whose text is no Unicode (half of a surrogate pair, which Arrow cannot hold) is a rejection here already.
    """
    record: Record = dict.fromkeys(features())
    if isinstance(row, Example) and (text := next(filter(_broken, _texts(row)), None)) is not None:
        row = Rejected(row.where or row.id, "invalid text", f"half of a surrogate pair in {text!r:.80}")
    if isinstance(row, Rejected):
        empty: Record = {"turns": [], "context_turns": [], "images": [], "digests": [], "repairs": []}
        where, detail = (text.encode(errors="backslashreplace").decode() for text in (row.where, row.detail))
        return record | empty | {"source": source, "where": where, "reason": row.reason, "detail": detail}
    images = [_stored(image) for image in row.images]
    return record | {
        "id": row.id,
        "source": source,
        "where": row.where or row.id,
        "category": row.category,
        "system": row.system,
        "turns": [{"question": question, "answer": answer} for question, answer in row.turns],
        "context_turns": list(row.context_turns),
        "images": images,
        "digests": [image["path"] or hashlib.sha256(image["bytes"]).hexdigest() for image in images],
        "repairs": list(row.repairs),
    }


def to_example(record: Record) -> Example:
    """The example that the record stands for, its pictures unopened; of references it has the answer alone."""
    *earlier, last = [(turn["question"], turn["answer"]) for turn in record["turns"]]
    return Example(
        id=record["id"],
        images=tuple(_shown(image) for image in record["images"]),
        question=last[0],
        answer=last[1],
        references=(last[1],),
        category=record["category"],
        earlier=tuple(earlier),
        system=record["system"],
        where=record["where"],
        repairs=tuple(record["repairs"]),
        context_turns=tuple(record["context_turns"]),
    )


def _texts(row: Example) -> Iterator[str]:
    yield from (row.id, row.category, row.system, row.where)
    yield from (str(image) for image in row.images if isinstance(image, Path))
    for turn in row.turns:
        yield from turn


def _broken(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= sign <= "\udfff" for sign in text)


def _stored(image: Picture) -> Record:
    stored: Record = {"path": None, "bytes": None, "size": None, "shrunk": None}
    if isinstance(image, Path):
        return stored | {"path": str(image)}
    if isinstance(image, bytes):
        return stored | {"bytes": image}
    if isinstance(image, Resized):
        raise TypeError("no source makes pictures smaller: the check does")
    buffer = io.BytesIO()
    image.save(buffer, "png", compress_level=1)
    return stored | {"bytes": buffer.getvalue()}


def _shown(image: Record) -> Picture:
    source = image["bytes"] if image["bytes"] is not None else Path(image["path"])
    return Resized(source, (image["shrunk"][0], image["shrunk"][1])) if image["shrunk"] else source
