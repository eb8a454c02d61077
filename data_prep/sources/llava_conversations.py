"""Conversations in LLaVA's JSON format, such as llava_v1_5_mix665k.json or one's own: several turns, or text alone.

A row has ``conversations`` (``from``: human and gpt in turn, perhaps system first; ``value``: the text) and, unless it
is text alone, ``image`` or ``images``, one path or a list; the questions hold as many ``<image>`` markers.
Format: github.com/haotian-liu/LLaVA at commit 9ad7265, docs/Finetune_Custom_Data.md; several pictures and JSON lines as
github.com/LLaVA-VL/LLaVA-NeXT at commit df17966, llava/train/train.py, reads them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from data_prep.conversations import ConversationFiles, has, turns_of
from data_prep.turns import Conversation, images_of, marked, spoken, system_of

if TYPE_CHECKING:
    from data_prep.sniff import Sample

SPLITS: tuple[str, ...] = ()


def recognise(sample: Sample) -> str | None:
    """Why the file looks like LLaVA's, or None."""
    turns = turns_of(sample, "conversations", "from")
    if any(turn["from"] == "human" for turn in turns) and has(sample, "image") and not has(sample, "video", "images"):
        return "rows with `image` and `conversations` of human and gpt, as LLaVA has them"
    return None


def _read(record: Any, where: str) -> Conversation:
    said = spoken(record, "conversations", "from", "value", where)
    said = marked(said, where, to_front=True)
    return Conversation(said, images_of(record, where), system_of(record, where), record["conversations"])


FORMAT = ConversationFiles("llava_conversations", (".json", ".jsonl"), _read)
check, rows = FORMAT.check, FORMAT.rows
