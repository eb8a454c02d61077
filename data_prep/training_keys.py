"""Row and turn keys by which other tools choose what is learned: honored, or the row is rejected by the key's name.

A turn's ``loss`` (ms-swift), ``train``, ``training`` and ``train_on_turn`` (axolotl) and ``weight`` (OpenAI, axolotl)
make an answer a label or context.  What this project cannot teach rejects the row: preference pairs, tool calls, boxes
(``objects``), reasoning beside an answer, token masks, weights other than 0 and 1.  Null and empty values count as
missing, and unknown keys are ignored.
Formats: github.com/modelscope/ms-swift at commit 025fc6b, docs/source_en/Customization/Custom-dataset.md;
github.com/hiyouga/LLaMA-Factory at commit ff6d4d1, data/README.md; github.com/huggingface/trl at commit f2cd577,
docs/source/dataset_formats.md; axolotl's docs/dataset-formats/conversation.qmd; OpenAI's guide to fine-tuning.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from data_prep.rows import RowError

SWITCHES = ("loss", "loss_scale", "loss_weight", "train", "training", "train_on_turn", "trainable", "weight")
"""Keys of a turn or a row: true or 1 is learned, false or 0 is not."""
QUALITY = ("label", "kto_tag")
"""Keys of a row for KTO: false marks a bad answer."""
PREFERENCES = (
    "chosen",
    "chosen_response",
    "reject",
    "rejected",
    "rejected_response",
    "rejected_messages",
    "rejected_images",
)
TOKEN_MASKS = ("mask", "loss_mask", "label_mask")
"""Tools disagree on what true means in them: false is refused, too."""
MASKS = (*TOKEN_MASKS, "masked", "mask_history", "train_detail")
MEDIA = ("video", "videos", "audio", "audios")
TOOLS = ("tools", "functions", "tool_calls", "function_call", "tool_call_id")
REASONING = ("reasoning", "reasoning_content", "thinking")
TURN_KEYS = (*PREFERENCES, *MASKS, *MEDIA, *TOOLS, *REASONING, "label", "objects", "channel", "prefix", "partial")
TABLE_KEYS = (*PREFERENCES, *MASKS, *MEDIA, "tools", "history")
CONVERSATION_KEYS = (*TABLE_KEYS, "functions", "objects", "margin", "chat_template_kwargs")
ANSWERS = ("messages", "conversations", "completion")
"""Keys of a row that hold what is learned in some format."""
BOXES = ("<bbox>", "<ref-object>")
"""Placeholders that ms-swift fills from ``objects``."""

_SWITCH = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


def check_row(record: Any, where: str, keys: Iterable[str], read: Collection[str] = ()) -> None:
    """Raise RowError where a row has one of ``keys``, or is marked as bad or as not learned.

    ``read`` are the row's keys that the source itself reads: they mean what the recipe says.
    """
    if not isinstance(record, dict):
        return
    own = {key: value for key, value in record.items() if key not in read}
    _refuse(own, keys, "row", where)
    if len(several := [key for key in ANSWERS if not _missing(own.get(key))]) > 1:
        raise _unsupported(f"a row has {' and '.join(map(repr, several))}: only one of them can be learned", where)
    for key in (*SWITCHES, *QUALITY):
        learned = None if _missing(own.get(key)) else _SWITCH.get(str(own[key]).strip().lower())
        if learned is False:
            raise _unsupported(f"the row is not to be learned ({key!r} is {own[key]!r:.40})", where)
        if learned is None and not _missing(own.get(key)) and not (key in QUALITY and isinstance(own[key], str)):
            raise _unsupported(f"expected true, false, 1 or 0 as the row's {key!r}, got {own[key]!r:.40}", where)


def is_label(turn: dict[str, Any], answer: bool, where: str) -> bool:
    """Return whether a turn, if it is an ``answer``, is learned by its own keys; raise RowError for unsupported keys.

    Keys: `SWITCHES` are honored, `TURN_KEYS` are not.
    """
    _refuse(turn, TURN_KEYS, "turn", where)
    learned = True
    for key in SWITCHES:
        if _missing(turn.get(key)):
            continue
        value = _SWITCH.get(str(turn[key]).strip().lower())
        if value is None:
            raise _unsupported(f"expected true, false, 1 or 0 as a turn's {key!r}, got {turn[key]!r:.40}", where)
        if value and not answer:
            raise _unsupported(f"a turn that is no answer is to be learned ({key!r} is {turn[key]!r:.40})", where)
        learned = learned and value
    return learned


def _refuse(record: dict[str, Any], keys: Iterable[str], kind: str, where: str) -> None:
    for key in keys:
        value = record.get(key)
        if not _missing(value) and (value is not False or key in TOKEN_MASKS):
            raise _unsupported(f"a {kind} has the key {key!r} ({value!r:.40}), which cannot be honored here", where)


def _unsupported(what: str, where: str) -> RowError:
    return RowError("unsupported content", what, where)


def _missing(value: Any) -> bool:
    """Whether the value is null or empty, also by its parts: Arrow fills in what other rows have."""
    if isinstance(value, dict):
        return all(map(_missing, value.values()))
    return all(map(_missing, value)) if isinstance(value, list) else value in (None, "", "[]", "{}")
