"""Examples as chat messages, and their text through the processor's own chat template."""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING, Any

from jinja2.exceptions import TemplateError

from data_prep.example import PICTURE, Example
from data_prep.prompts import ask
from data_prep.rows import RowError
from data_prep.text import clean
from mlplora_vlm.errors import MendableError, reason

if TYPE_CHECKING:
    from mlplora_vlm.families.processor import FamilyProcessor

Message = dict[str, Any]


def messages(example: Example, prompt: str) -> list[Message]:
    """The turns of system, user (each question in the named prompt's words) and assistant, stripped.

    Pictures stand where the questions' `PICTURE` signs are, or before the first question where there is no sign.
    Stripped, because answers are compared stripped, and because a space at either end would tokenise in its own way.
    Raises MendableError, naming the row, where prompt and question do not fit (see `ask`), and where there are not as
    many signs as pictures.
    """
    signs = sum(question.count(PICTURE) for question, _ in example.turns)
    if signs not in (0, len(example.images)):
        what = f"the questions mark {signs} pictures, and the row has {len(example.images)}"
        raise RowError("picture markers", what, f"row {example.id}")
    before = "" if signs else PICTURE * len(example.images)
    chat: list[Message] = []
    if example.system.strip():
        chat.append({"role": "system", "content": [{"type": "text", "text": example.system.strip()}]})
    for question, answer in example.turns:
        asked, before = before + ask(prompt, question, f"row {example.id}"), ""
        chat.append({"role": "user", "content": _parts(asked)})
        chat.append({"role": "assistant", "content": [{"type": "text", "text": answer.strip()}]})
    return chat


def _parts(text: str) -> list[dict[str, str]]:
    """The user's text cut at its `PICTURE` signs."""
    first, *rest = text.split(PICTURE)
    parts = [{"type": "text", "text": first}]
    for piece in rest:
        parts += [{"type": "image"}, {"type": "text", "text": piece}]
    return [part for part in parts if part["type"] == "image" or part["text"]]


def special_tokens(processor: FamilyProcessor) -> re.Pattern[str]:
    """A pattern of every text that the tokenizer reads as a control token: turn markers, the picture placeholder …"""
    tokenizer = processor.tokenizer
    added = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    tokens = added | set(tokenizer.all_special_tokens) | {processor.placeholder}
    return re.compile("|".join(re.escape(token) for token in sorted(tokens, key=lambda t: (-len(t), t))))


def check_text(example: Example, specials: re.Pattern[str]) -> None:
    """Raises RowError, naming the row, where its text would be read as more than text; see `special_tokens`."""
    for text in (example.system, *chain.from_iterable(example.turns)):
        try:
            clean(text, specials, "refuse")
        except RowError as error:
            raise RowError(error.reason, error.what, f"row {example.id}") from error


def answer_end(processor: FamilyProcessor) -> str:
    """The token that ends the assistant's turn; MendableError where neither the family nor the tokenizer has one."""
    if not (token := processor.answer_end):
        raise MendableError(
            "the tokenizer has no end-of-sequence token", "model.id", "set eos_token in its tokenizer_config.json"
        )
    return token


def prompt_text(processor: FamilyProcessor, chat: list[Message]) -> str:
    """What the model is sent before it answers: ``chat`` up to the user, and the start of the assistant's turn."""
    return _template(processor, chat, add_generation_prompt=True)


def render(processor: FamilyProcessor, chat: list[Message]) -> tuple[str, list[tuple[int, int]]]:
    """The training text of a chat, and the character span [start, end) of each thing the model has to write in it.

    A span starts where the template's ``{% generation %}`` block does.  A template without such blocks is asked for the
    prompt of each turn, and the span starts where that ends, so a space or a control token (Command's
    ``<|START_TEXT|>``) that a template puts before the answer belongs to it: at generation nobody else writes them.  It
    ends with the token that ends a turn (`answer_end`), which is put right after the answer where the template does not
    write it (llava-hf's "ASSISTANT: answer "); after the last answer nothing follows.  Some templates write a turn that
    is over otherwise than the prompt for it (without its empty block of thoughts); a chat of one answer is then that
    prompt, the answer and its end.  Raises MendableError where the template does not render turn by turn, and where an
    answer is empty.
    """
    if not all(_text(message) for message in chat if message["role"] == "assistant"):
        raise RowError("empty answer", "an answer is empty: there is nothing to learn")
    full, answers = _marked(processor, chat) or _asked(processor, chat)
    end_token = answer_end(processor)
    text, spans, done = "", [], 0
    for start, end in answers:
        text += full[done:start]
        spans.append((len(text), len(text) + end - start + len(end_token)))
        text += full[start:end] + end_token
        rest = full[end:]
        done = len(full) - len(rest.lstrip().removeprefix(end_token)) if rest.lstrip().startswith(end_token) else end
    return text, spans


GENERATION = re.compile(r"\{%(-?)\s*(end)?generation\s*(-?)%\}")
"""The tags by which a chat template says what the model writes (transformers' ``return_assistant_tokens_mask``)."""
_OPENS, _CLOSES = "\ufdd0", "\ufdd1"  # Unicode keeps these two for a program's own use: no text holds them


def _marked(processor: FamilyProcessor, chat: list[Message]) -> tuple[str, list[tuple[int, int]]] | None:
    """The chat's text and, by the template's own blocks, where each answer starts and ends; None without blocks.

    Whatever a block holds after the answer's end-of-turn token (a line break) is left out: generation stops before it.
    """
    template = getattr(processor, "chat_template", None)
    if not isinstance(template, str) or not GENERATION.search(template):
        return None
    signs = GENERATION.sub(lambda tag: f"{{{{{tag[1]} '{_CLOSES if tag[2] else _OPENS}' {tag[3]}}}}}", template)
    text, end_token = "", answer_end(processor)
    answers: list[tuple[int, int]] = []
    pieces = re.split(f"([{_OPENS}{_CLOSES}])", _template(processor, chat, False, chat_template=signs))
    for sign, piece in zip(["", *pieces[1::2]], pieces[::2], strict=True):
        if sign == _OPENS:
            said = piece.partition(end_token)[0]
            answers.append((len(text), len(text) + len(said)))
        text += piece
    if len(answers) != sum(message["role"] == "assistant" for message in chat):
        what = f"the chat template marks {len(answers)} answers with {{% generation %}} in a chat of another number"
        raise RowError("template", what)
    return text, answers


def _asked(processor: FamilyProcessor, chat: list[Message]) -> tuple[str, list[tuple[int, int]]]:
    """The chat's text and, by the prompt of each turn, where each answer starts and ends."""
    full = _template(processor, chat, add_generation_prompt=False)
    answers: list[tuple[int, int]] = []
    for number, message in enumerate(chat):
        if message["role"] != "assistant":
            continue
        answer, prompt = _text(message), prompt_text(processor, chat[:number])
        alone = number == len(chat) - 1 and not answers
        if not full.startswith(prompt) and alone and _holds(full, chat):
            full = prompt + answer
        start = len(prompt)
        written = len(full) - len(full[start:].lstrip())  # where the answer itself begins
        if not full.startswith(answer, written):
            opening = re.match(rf"(?:{special_tokens(processor).pattern}|\s)*", full[start:])
            written = start + len(opening[0]) if opening else start
        if not full.startswith(prompt) or not full.startswith(answer, written):
            raise RowError(
                "template",
                f"the chat template does not write the answer {answer[:80]!r} right after its generation prompt "
                f"{prompt[-40:]!r} but {full[start : start + 40]!r}: it does not render a chat turn by turn",
            )
        answers.append((start, written + len(answer)))
    return full, answers


def _holds(text: str, chat: list[Message]) -> bool:
    """Whether the text has each message's words, in their order."""
    for message in chat:
        _, found, text = text.partition(_text(message))
        if not found:
            return False
    return True


def _template(processor: FamilyProcessor, chat: list[Message], add_generation_prompt: bool, **options: Any) -> str:
    if not getattr(processor, "chat_template", None):
        raise MendableError("the processor has no chat template", "model.id", "save one with it (chat_template.jinja)")
    images = sum(part["type"] == "image" for message in chat for part in message["content"])
    if processor.card.text_answers:
        chat = [{**m, "content": _text(m)} if m["role"] == "assistant" else m for m in chat]
    try:
        text = processor.render(chat, add_generation_prompt, **options)
    except TemplateError as error:  # a template's own raise_exception(), such as for a system turn it has no place for
        raise RowError("template", f"the chat template refuses the conversation: {error}") from error
    except Exception as error:  # whatever code it runs
        raise RowError("template", f"the chat template fails on the conversation: {reason(error)}") from error
    if (placeholders := text.count(processor.placeholder)) != images:
        what = f"the chat template wrote {placeholders} picture placeholders for {images} pictures"
        raise RowError("template", what)
    return text


def _text(message: Message) -> str:
    return "".join(part["text"] for part in message["content"] if part["type"] == "text")
