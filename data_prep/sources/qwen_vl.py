"""Qwen-VL's JSON formats for fine-tuning: that of Qwen2-VL to Qwen3-VL, and the first one, with paths in the text.

A row has ``conversations`` (``from``: human and gpt, once user and assistant, in turn; ``value``) and either ``image``,
one path or a list, with one ``<image>`` marker in the questions for each, or ``Picture 1: <img>path</img>`` in the
questions themselves.  The pictures stand where these do; ``<ref>…</ref><box>…</box>`` stay text.
Formats: github.com/QwenLM/Qwen3-VL at commit 9658872, qwen-vl-finetune/README.md, demo/single_images.json and
qwenvl/data/data_processor.py; github.com/QwenLM/Qwen-VL at commit aa00ed0, README.md (Data preparation).  Rows of
videos, which the former has too, are rejected.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from data_prep.conversations import ConversationFiles, has, turns_of
from data_prep.example import PICTURE
from data_prep.rows import RowError
from data_prep.turns import Conversation, images_of, is_user, marked, plain, spoken, system_of

if TYPE_CHECKING:
    from data_prep.sniff import Sample

SPLITS: tuple[str, ...] = ()
_TAG = re.compile(r"</?img>")
_NAMED = re.compile(r"(?:Picture \d{1,6}: {0,4})?<img>([^<>]+)</img>")  # bounded: each text is read through once


def recognise(sample: Sample) -> str | None:
    """Why the file looks like Qwen-VL's, or None; what LLaVA's format has too is left to that."""
    turns = turns_of(sample, "conversations", "from")
    if any(turn["from"] == "user" and _TAG.search(str(turn.get("value"))) for turn in turns):
        return "rows with `conversations` whose texts hold <img>…</img>, as Qwen-VL has them"
    if turns and has(sample, "video"):
        return "rows with `image` or `video` and `conversations`, as Qwen-VL has them"
    return None


def _read(record: Any, where: str) -> Conversation:
    said = spoken(record, "conversations", "from", "value", where)
    if any(_TAG.search(text) for _, text in said):
        return _named_in_text(record, said, where)
    said = marked(said, where)
    return Conversation(said, images_of(record, where), system_of(record, where), record["conversations"])


def _named_in_text(record: Any, said: list[tuple[str, str]], where: str) -> Conversation:
    """The first format: a picture's name stands in the text, where the picture does."""
    found = [name for role, text in said if is_user(role) for name in _NAMED.findall(text)]
    said = [(role, _NAMED.sub(PICTURE, plain(text, where)) if is_user(role) else text) for role, text in said]
    if left := next((text for _, text in said if _TAG.search(text)), None):
        raise RowError("picture markers", f"<img> and </img> do not frame a question's picture: {left!r:.80}", where)
    if images_of(record, where):
        raise RowError("picture markers", "pictures are named both under 'image' and by <img> in the text", where)
    return Conversation(said, found, system_of(record, where), record["conversations"])


FORMAT = ConversationFiles("qwen_vl", (".json", ".jsonl"), _read)
check, rows = FORMAT.check, FORMAT.rows
