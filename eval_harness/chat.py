"""A conversation about pictures with one model, or with two side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from data_prep.example import PICTURE, Example
from data_prep.images import open_image
from data_prep.sources.image_folder import PICTURES
from eval_harness.answerer import Answerer
from mlplora_vlm.errors import MendableError

PROMPT = "as_written"


@dataclass
class Talk:
    """What was shown and said; each model remembers its own answers."""

    answerers: Sequence[Answerer]
    max_new_tokens: int
    pictures: list[Path] = field(default_factory=list)
    """All that were shown, in their order."""
    _waiting: int = 0
    """How many of them go before the next question."""
    _questions: list[str] = field(default_factory=list)
    _answers: list[tuple[str, ...]] = field(default_factory=list)
    """Each question's answers, one a model."""

    def show(self, path: Path) -> tuple[int, int]:
        """Puts a picture before the next question; (width, height).  Raises RowError for one that cannot be read."""
        size = open_image(path).size
        self.pictures.append(path)
        self._waiting += 1
        return size

    def ask(self, question: str) -> tuple[str, ...]:
        """Each model's answer in its own context.

        Raises MendableError where a model cannot be asked; the conversation is then what it was before.
        """
        asked = PICTURE * self._waiting + question.replace(PICTURE, " ").strip()
        found = tuple(self._answer(number, asked) for number in range(len(self.answerers)))
        self._questions.append(asked)
        self._answers.append(found)
        self._waiting = 0
        return found

    def reset(self) -> None:
        """Forgets the pictures and all that was said."""
        self.pictures.clear()
        self._questions.clear()
        self._answers.clear()
        self._waiting = 0

    def _answer(self, number: int, asked: str) -> str:
        earlier = [(question, said[number]) for question, said in zip(self._questions, self._answers, strict=True)]
        example = Example("chat", tuple(self.pictures), asked, "", (), "chat", earlier=tuple(earlier))
        answers = self.answerers[number].answers([example], PROMPT, self.max_new_tokens, 1, progress=False)
        ((_, answer),) = answers
        return answer


_FIRST = re.compile(r"""\s*(?:'([^']*)'|"([^"]*)"|((?:\\.|[^\s\\])+))\s*""", re.DOTALL)
"""A path as a terminal writes it where a file is dropped on it: in quotes, or with a backslash before odd signs."""


def dropped(line: str) -> tuple[list[Path], str]:
    """(the picture files that the line begins with, the rest of it): what a terminal makes of files dropped on it."""
    found = []
    while (match := _FIRST.match(line)) and (path := _picture(_unquoted(match))):
        found.append(path)
        line = line[match.end() :]
    return found, line.strip()


def named(text: str) -> Path:
    """The one file that a command's word names; quotes, backslashes and ``file://`` are understood.

    Raises MendableError for none; spaces need no quotes here.
    """
    plain = Path(text.strip()).expanduser()
    match = _FIRST.fullmatch(text)
    for path in (plain, *([_path(_unquoted(match))] if match else [])):
        if text.strip() and path.is_file():
            return path
    raise MendableError(f"there is no file {text.strip()!r:.200}", "/picture", "name a picture: /picture cat.png")


def _unquoted(match: re.Match[str]) -> str:
    quoted = match[1] if match[1] is not None else match[2]
    return quoted if quoted is not None else re.sub(r"\\(.)", r"\1", match[3], flags=re.DOTALL)


def _path(text: str) -> Path:
    if text.startswith("file://"):
        text = unquote(text.removeprefix("file://").removeprefix("localhost"))
    return Path(text).expanduser()


def _picture(text: str) -> Path | None:
    path = _path(text)
    try:
        return path if path.suffix.lower() in PICTURES and path.is_file() else None
    except (OSError, ValueError):  # a name that is too long, or none
        return None


def printable(text: str) -> str:
    """The text without what a terminal would obey."""
    return "".join(sign if sign.isprintable() or sign == "\n" else " " if sign == "\t" else "\ufffd" for sign in text)
