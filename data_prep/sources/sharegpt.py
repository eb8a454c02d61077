"""ShareGPT's JSON format with pictures, as LLaMA-Factory reads it.

A row has ``conversations`` (``from``: human and gpt in turn, perhaps system first; ``value``) or ``messages``
(``role``: user and assistant, perhaps system first; ``content``), ``images`` or ``image``, one path or a list, and
perhaps ``system``; the questions hold one ``<image>`` marker for each picture, and the pictures stand where these do.
Format: github.com/hiyouga/LLaMA-Factory at commit ff6d4d1, data/README.md (Sharegpt Format), data/mllm_demo.json,
src/llamafactory/data/{parser,converter}.py.  Rows of tool calls, videos and sounds, which that format has too, are
rejected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from data_prep.conversations import ConversationFiles, has, turns_of
from data_prep.turns import MARKER, Conversation, images_of, marked, spoken, system_of

if TYPE_CHECKING:
    from data_prep.sniff import Sample

SPLITS: tuple[str, ...] = ()


def recognise(sample: Sample) -> str | None:
    """Why the file looks like LLaMA-Factory's, or None."""
    turns = turns_of(sample, "conversations", "from")
    if any(turn["from"] == "human" for turn in turns) and not has(sample, "image", "video"):
        return "rows with `conversations` of human and gpt, and `images` or none, as LLaMA-Factory has them"
    turns = turns_of(sample, "messages", "role")
    if any(isinstance(text := turn.get("content"), str) and MARKER in text for turn in turns):
        return f"rows with `messages` whose texts hold {MARKER}, as LLaMA-Factory has them"
    return None


def _read(record: Any, where: str) -> Conversation:
    if isinstance(record, dict) and "messages" in record and "conversations" not in record:
        key, said = "messages", spoken(record, "messages", "role", "content", where)
    else:
        key, said = "conversations", spoken(record, "conversations", "from", "value", where)
    return Conversation(marked(said, where), images_of(record, where), system_of(record, where), record[key])


FORMAT = ConversationFiles("sharegpt", (".json", ".jsonl"), _read)
check, rows = FORMAT.check, FORMAT.rows
