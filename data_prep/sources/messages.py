"""OpenAI's chat messages as JSON lines, with pictures as TRL reads them.

A row has ``messages``, or ``prompt`` and ``completion``, lists of ``role`` (user and assistant in turn, perhaps system
first) and ``content``: text, or parts, ``{"type": "text", "text": …}``, ``{"type": "image", "image": …}`` and
``{"type": "image_url", "image_url": {"url": …}}``.  A picture is a path, base64 text or a data: URI; a URL is fetched
where ``urls`` is set.  A part ``{"type": "image"}`` shows the next picture of ``images``, the list beside the messages;
where all content is text, these stand before the first question.  Answers within ``prompt`` are context, as in TRL, and
so are messages with ``"weight": 0`` (see data_prep/training_keys.py).
Format: github.com/huggingface/trl at commit f2cd577, docs/source/dataset_formats.md, trl/data_utils.py
(prepare_multimodal_messages); github.com/huggingface/transformers v5.23.0, src/transformers/processing_utils.py
(apply_chat_template: where a part's picture stands).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from data_prep.conversations import ConversationFiles, turns_of
from data_prep.example import PICTURE
from data_prep.fields import field
from data_prep.rows import RowError
from data_prep.turns import MARKER, Conversation, images_of, is_user, plain, system_of

if TYPE_CHECKING:
    from data_prep.sniff import Sample

SPLITS: tuple[str, ...] = ()
_PICTURE_KEYS = ("image", "path", "url", "base64")


def recognise(sample: Sample) -> str | None:
    """Why the file looks like OpenAI's or TRL's messages, or None."""
    if turns := turns_of(sample, "messages", "role"):
        if any(isinstance(text := turn.get("content"), str) and MARKER in text for turn in turns):
            return None  # LLaMA-Factory's
        return "rows with `messages` of `role` and `content`, as OpenAI and TRL have them"
    if turns_of(sample, "prompt", "role") and turns_of(sample, "completion", "role"):
        return "rows with `prompt` and `completion`, lists of `role` and `content`, as TRL has them"
    return None


def _read(record: Any, where: str) -> Conversation:
    if isinstance(record, dict) and record.get("messages") is None:
        prompt = field(record, "prompt", list, where)
        messages = [*prompt, *field(record, "completion", list, where)]
    else:
        prompt, messages = [], field(record, "messages", list, where)
    context = range(len(prompt))
    beside, system = list(images_of(record, where)), system_of(record, where)
    said, shown = [], list[str | None]()
    for message in messages:
        text, pictures = _content(message, where)
        said.append((field(message, "role", str, where), text))
        shown += pictures
    if not shown:
        return Conversation(said, beside, system, messages, context, isinstance(_first_content(messages), str))
    if shown.count(None) != len(beside):
        what = f"{shown.count(None)} parts show a picture of `images`, which holds {len(beside)}"
        raise RowError("picture markers", what, where)
    following = iter(beside)
    in_order = [next(following) if name is None else name for name in shown]
    return Conversation(said, in_order, system, messages, context)


def _first_content(messages: list[Any]) -> Any:
    return next((message["content"] for message in messages if is_user(message["role"])), None)


def _content(message: Any, where: str) -> tuple[str, list[str | None]]:
    """The message's text, and its pictures' names, None for the next one of ``images``."""
    role = field(message, "role", str, where)
    if message.get("tool_calls") or message.get("function_call"):
        raise RowError("unsupported content", "a message calls a tool; tool calls cannot be taught", where)
    if isinstance(message.get("content"), str):
        return _text(message["content"], role, where), []
    text, pictures = "", list[str | None]()
    for part in field(message, "content", list, where):
        kind = field(part, "type", str, where)
        if kind == "text":
            text += _text(field(part, "text", str, where), role, where)
        elif kind not in ("image", "image_url"):
            what = f"a part of type {kind!r:.40}; only text and pictures can be taught"
            raise RowError("unsupported content", what, where)
        elif not is_user(role):
            raise RowError("picture markers", f"the {role!r:.40} shows a picture; only the user can", where)
        else:
            text += PICTURE
            pictures.append(_name(part, kind, where))
    return text, pictures


def _text(text: str, role: str, where: str) -> str:
    if is_user(role) and MARKER in text:
        what = f"{MARKER} stands in a message's text; parts show pictures here, markers in the source sharegpt"
        raise RowError("picture markers", what, where)
    return plain(text, where) if is_user(role) else text


def _name(part: dict[str, Any], kind: str, where: str) -> str | None:
    if kind == "image_url":
        return field(field(part, "image_url", dict, where), "url", str, where)
    key = next((key for key in _PICTURE_KEYS if part.get(key) is not None), None)  # Arrow writes None for a missing one
    return None if key is None else field(part, key, str, where)


FORMAT = ConversationFiles("messages", (".jsonl", ".json"), _read)
check, rows = FORMAT.check, FORMAT.rows
