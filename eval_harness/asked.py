"""What `predict` asks: a user's pictures with one question, or the rows of a JSON lines file; bad rows are rows too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data_prep.columns import numbered
from data_prep.example import PICTURE, Example, Picture
from data_prep.fields import field
from data_prep.prompts import ask
from data_prep.records import records
from data_prep.references import References
from data_prep.rows import Rejected, Row, RowError
from data_prep.sources import messages
from data_prep.sources.image_folder import PICTURES
from data_prep.turns import Conversation, marked, names, to_example
from eval_harness.controls import picture_key
from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import digest

ROWS = (".jsonl", ".json")
_NO_ANSWER = "-"  # a conversation ends in an answer; the one that is asked for is taken out again
_TURN = {"role": "assistant", "content": _NO_ANSWER}


@dataclass(frozen=True)
class Asked:
    """A row as it was given: its name for people, and the question, or why it cannot be asked."""

    id: str
    row: Row

    @property
    def key(self) -> str:
        """Changes with whatever is asked, with a picture file's size and time too; not with an endpoint or a model."""
        if isinstance(self.row, Rejected):
            return digest([self.id, "rejected"])[:16]
        sent = [self.row.system, *self.row.earlier, self.row.question]
        return digest([self.id, sent, [_state(picture) for picture in self.row.images]])[:16]


def asked(words: Sequence[str], question: str = "", pictures: Path | None = None, urls: bool = False) -> list[Asked]:
    """Everything that the words name, in their order: picture files, folders of pictures, files of rows.

    ``question`` is asked of each picture; of rows without one too.  ``pictures`` is the folder that the rows' pictures
    are in (None: the rows' own).  Ids are the pictures' paths, the rows' own ids, or their numbers; what is named twice
    is told apart by a number.  Raises MendableError for a word that names nothing, and where nothing is to be asked.
    """
    found = [one for word in words for one in _of_word(Path(word).expanduser(), question, pictures, urls)]
    if not found:
        raise MendableError("there is nothing to ask", " ".join(words), "name pictures, or a file of rows")
    seen: dict[str, int] = {}
    for place, one in enumerate(found):
        seen[one.id] = times = seen.get(one.id, 0) + 1
        if times > 1:
            name = f"{one.id}#{times}"
            row = replace(one.row, id=name) if isinstance(one.row, Example) else one.row
            found[place] = Asked(name, row)
    return found


def fitting(asked: Sequence[Asked], prompt: str) -> list[Asked]:
    """The rows; those whose question does not fit the named prompt are rejected.

    Raises MendableError where that is so of all of them: the words were mistaken then, and not a row.
    """
    found, first = [], None
    for one in asked:
        if not isinstance(one.row, Rejected):
            try:
                _fits(one.row, prompt)
            except MendableError as error:
                first = first or error
                one = replace(one, row=Rejected(one.row.where, "prompt", error.what))
        found.append(one)
    if first and all(isinstance(one.row, Rejected) and one.row.reason == "prompt" for one in found):
        raise first
    return found


def _fits(example: Example, prompt: str) -> None:
    question = example.question.replace(PICTURE, "")
    if not ask(prompt, question, f"row {example.id}"):
        raise MendableError("no question is asked", f"row {example.id}", "say it with --question")


def _of_word(path: Path, question: str, pictures: Path | None, urls: bool) -> Iterator[Asked]:
    if path.is_dir():
        below = sorted(each for each in path.rglob("*") if each.suffix.lower() in PICTURES and each.is_file())
        if not below:
            raise MendableError("the folder holds no pictures", str(path), f"files that end in {', '.join(PICTURES)}")
        yield from (_of_picture(each, question) for each in below)
    elif path.suffix.lower() in ROWS:
        if not path.is_file():
            raise MendableError("there is no such file of rows", str(path), "one JSON object a line")
        yield from _of_rows(path, question, pictures, urls)
    elif path.is_file():
        yield _of_picture(path, question)
    else:
        what = "there is no such picture, folder or file of rows"
        raise MendableError(what, str(path), "name a picture, a folder of pictures, or rows.jsonl")


def _of_picture(path: Path, question: str) -> Asked:
    return Asked(str(path), Example(str(path), (path,), question, "", (), "picture", where=str(path)))


def _of_rows(path: Path, question: str, pictures: Path | None, urls: bool) -> Iterator[Asked]:
    folder = pictures or path.parent
    if not folder.is_dir():
        raise MendableError("there is no such folder of pictures", str(folder), "name it with --pictures")
    picture, given = References(folder, urls), dict[str, str]()

    def example(record: Any, where: str, number: int) -> Example:
        given[where] = name = _id(record, number)
        return _asked(to_example(name, _conversation(record, question, where), picture, where))

    for number, row in enumerate(numbered(records(path), example)):
        yield Asked(given.get(row.where, f"{number:06d}"), row)


def _id(record: Any, number: int) -> str:
    own = record.get("id") if isinstance(record, dict) else None
    return str(own) if isinstance(own, str | int) and own != "" else f"{number:06d}"


def _conversation(record: Any, question: str, where: str) -> Conversation:
    """The row's turns with an answer at their end."""
    if isinstance(record, dict) and any(isinstance(record.get(key), list) for key in ("messages", "prompt")):
        talk = messages.FORMAT.read(_answered(record), where)
        *said, (role, text) = talk.said or [("", "")]
        return replace(talk, said=[*said, (role, text if text.strip() else _NO_ANSWER)])
    own = field(record, "question", str, where) if not question or "question" in record else question
    if not own.strip():
        raise RowError("empty question", "a row's 'question' is empty", where)
    shown = names(record, "images", where) or names(record, "image", where)
    said = marked([("user", own), ("assistant", _NO_ANSWER)], where, to_front=True)
    return Conversation(said, shown, leading=True)


def _answered(record: dict[str, Any]) -> dict[str, Any]:
    """The row with an answer at its end, where it ends with what is asked."""
    if "messages" not in record:
        return record if record.get("completion") else {**record, "completion": [_TURN]}
    turns = record["messages"]
    asks = isinstance(turns, list) and turns and isinstance(turns[-1], dict) and turns[-1].get("role") == "user"
    return {**record, "messages": [*turns, _TURN]} if asks else record


def _asked(example: Example) -> Example:
    """Without the answer that nobody gave yet."""
    return replace(example, answer="", references=())


def _state(picture: Picture) -> list[Any]:
    if isinstance(picture, Path) and picture.is_file():
        of = picture.stat()
        return [str(picture), of.st_size, of.st_mtime_ns]
    return [picture_key(picture)]
