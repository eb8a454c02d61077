"""Examples as chat messages, and their text through the processor's own chat template."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from data_prep.example import Example
from data_prep.prompts import ask
from mlplora_vlm.errors import MendableError

if TYPE_CHECKING:
    from mlplora_vlm.families.processor import FamilyProcessor

Message = dict[str, Any]


def messages(example: Example, prompt: str) -> list[Message]:
    """The turns of user (each question in the named prompt's words) and assistant, all stripped; pictures stand first.

    Stripped, because answers are compared stripped, and because a space at either end would tokenise in its own way.
    Raises MendableError, naming the row, where prompt and question do not fit (see `ask`).
    """
    content: list[Message] = [{"type": "image"} for _ in example.images]
    chat: list[Message] = []
    for question, answer in example.turns:
        content.append({"type": "text", "text": ask(prompt, question, f"row {example.id}")})
        chat.append({"role": "user", "content": content})
        chat.append({"role": "assistant", "content": [{"type": "text", "text": answer.strip()}]})
        content = []
    return chat


def special_tokens(processor: FamilyProcessor) -> re.Pattern[str]:
    """A pattern of every text that the tokenizer reads as a control token: turn markers, the picture placeholder …"""
    tokenizer = processor.tokenizer
    added = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    tokens = added | set(tokenizer.all_special_tokens) | {processor.placeholder}
    return re.compile("|".join(re.escape(token) for token in sorted(tokens, key=lambda t: (-len(t), t))))


def text_problem(example: Example, specials: re.Pattern[str]) -> str | None:
    """Why the row's text cannot be sent to the model as it is, or None; ``specials`` is from `special_tokens`."""
    for turn in example.turns:
        for name, text in zip(("question", "answer"), turn, strict=True):
            if found := specials.search(text):
                return f"the {name} contains the control token {found.group()!r}"
            if not text.isascii() and any("\ud800" <= sign <= "\udfff" for sign in text):
                return f"the {name} is not valid text (half of a surrogate pair)"
    return None


def check_text(example: Example, specials: re.Pattern[str]) -> None:
    """Raises MendableError, naming the row, where its text would be read as more than text (see `text_problem`)."""
    if problem := text_problem(example, specials):
        raise MendableError(problem, f"row {example.id}", "take it out of the data's text")


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

    A span starts where the prompt for that turn ends, so a space or a control token (Command's ``<|START_TEXT|>``) that
    a template puts before the answer belongs to it: at generation nobody else writes them.  It ends with the token that
    ends a turn (`answer_end`), which is put right after the answer where the template does not write it (llava-hf's
    "ASSISTANT: answer "); after the last answer nothing follows.  Some templates write a turn that is over otherwise
    than the prompt for it (without its empty block of thoughts); a chat of one answer is then that prompt, the answer
    and its end.  Raises MendableError where the template does not render turn by turn, and where an answer is empty.
    """
    end_token = answer_end(processor)
    full = _template(processor, chat, add_generation_prompt=False)
    text, spans, done = "", [], 0
    for number, message in enumerate(chat):
        if message["role"] != "assistant":
            continue
        answer = _text(message)
        if not answer:
            raise MendableError("an answer is empty: there is nothing to learn", "", "leave the row out")
        prompt = prompt_text(processor, chat[:number])
        if not full.startswith(prompt) and number == 1 == len(chat) - 1 and _holds(full, chat):
            full = prompt + answer
        start = len(prompt)
        written = len(full) - len(full[start:].lstrip())  # where the answer itself begins
        if not full.startswith(answer, written):
            opening = re.match(rf"(?:{special_tokens(processor).pattern}|\s)*", full[start:])
            written = start + len(opening[0]) if opening else start
        if not full.startswith(prompt) or not full.startswith(answer, written):
            raise MendableError(
                f"the chat template does not write the answer {answer!r} right after its generation prompt "
                f"{prompt[-40:]!r} but {full[start : start + 40]!r}",
                "the processor's chat_template",
                "use a template that renders a chat turn by turn",
            )
        end = written + len(answer)
        text += full[done:start]
        spans.append((len(text), len(text) + end - start + len(end_token)))
        text += full[start:end] + end_token
        rest = full[end:]
        done = len(full) - len(rest.lstrip().removeprefix(end_token)) if rest.lstrip().startswith(end_token) else end
    return text, spans


def _holds(text: str, chat: list[Message]) -> bool:
    """Whether the text has each message's words, in their order."""
    for message in chat:
        _, found, text = text.partition(_text(message))
        if not found:
            return False
    return True


def _template(processor: FamilyProcessor, chat: list[Message], add_generation_prompt: bool) -> str:
    if not getattr(processor, "chat_template", None):
        raise MendableError("the processor has no chat template", "model.id", "save one with it (chat_template.jinja)")
    if processor.card.text_answers:
        chat = [{**m, "content": _text(m)} if m["role"] == "assistant" else m for m in chat]
    options = {**processor.card.template_options, "add_generation_prompt": add_generation_prompt, "tokenize": False}
    return str(processor.apply_chat_template(chat, **options))


def _text(message: Message) -> str:
    return "".join(part["text"] for part in message["content"] if part["type"] == "text")
