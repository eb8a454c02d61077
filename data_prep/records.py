"""Reads a user's JSON or JSONL file record by record: a file larger than memory is read like a small one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from data_prep.rows import RowError
from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import refuse_lfs_pointer

Record = tuple[str, Any]
"""(where it stands, the record, or a `RowError` for what is none)."""


def find_file(folder: Path | None, file: str | None, split: str, suffixes: tuple[str, ...]) -> Path:
    """``folder/file``, else the folder's ``SPLIT.json`` (or another suffix), else its only file with such a suffix.

    Opens nothing.  Raises MendableError where there is none, or several to choose from.
    """
    if folder is None:
        raise MendableError(
            "the source needs a folder", "data.folder or eval.folder", f"name the one with your {suffixes[0]} file"
        )
    if file is not None:
        if not (folder / file).is_file():
            raise MendableError(f"there is no file {file!r}", str(folder), "see data.file")
        return folder / file
    named = [folder / f"{split}{suffix}" for suffix in suffixes if (folder / f"{split}{suffix}").is_file()]
    found = named or sorted(path for suffix in suffixes for path in folder.glob(f"*{suffix}") if path.is_file())
    if len(found) != 1:
        several = f"several files ({', '.join(path.name for path in found[:5])}{', …' * (len(found) > 5)})"
        what = several if found else f"no file that ends in {' or '.join(suffixes)}"
        raise MendableError(f"the folder holds {what}", str(folder), "name one with data.file")
    return found[0]


def records(path: Path) -> Iterator[Record]:
    """The file's records in their order: the items of a JSON list, or each line of JSON lines, whatever its suffix.

    A broken line, and what is nested too deeply for `json`, is yielded as a `RowError`.  Raises MendableError where the
    file is neither, and at the place where a list breaks off.
    """
    refuse_lfs_pointer(path)
    with path.open("rb") as file:
        head = file.read(_HEAD).decode("utf-8", "surrogateescape").lstrip("\ufeff \t\r\n")
    line, _, rest = head.partition("\n")
    # of JSON lines the first may be a list, too; then others follow it
    several = path.suffix == ".jsonl" and _end(line, 0) == len(line.rstrip()) and rest.strip()
    yield from _items(path) if head.startswith("[") and not several else _lines(path)


def _items(path: Path) -> Iterator[Record]:
    number = 0
    # what is no UTF-8 costs its own row
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        window = _Window(file)
        try:
            window.skip("[")
            more = window.sign() != "]"
            while more:
                yield f"{path}, row {number}", window.value()
                number += 1
                if more := window.sign() != "]":
                    window.skip(",")
            window.skip("]")
            window.skip("")
        except ValueError as error:  # not the reader's: it only ever receives rows
            what = f"the list of rows breaks off after {number} rows ({error!s:.100})"
            raise MendableError(what, f"{path}:{window.line}", "save it as valid JSON") from error


class _Window:
    """As much of a JSON file's text as one of its values needs; `json` decodes it.

    (`ijson` would make "?" of half of a surrogate pair, and end at a whole number of more than 64 bits.)
    """

    def __init__(self, file: TextIO) -> None:
        self._file, self._text, self._at = file, "", 0
        self._first_line = 1  # of the text

    @property
    def line(self) -> int:
        """The line of the file that is read, from 1."""
        return self._first_line + self._text.count("\n", 0, self._at)

    def sign(self) -> str:
        """The next character that is no white space; empty at the file's end."""
        while not (found := _SIGN.search(self._text, self._at)):
            if not self._more():
                return ""
        self._at = found.start()
        return found[0]

    def skip(self, sign: str) -> None:
        """Goes on behind the ``sign``; raises ValueError where something else is next."""
        if self.sign() != sign:
            raise ValueError(f"{sign or 'the end'!r} should stand where {self._text[self._at : self._at + 20]!r} does")
        self._at += len(sign)

    def value(self) -> Any:
        """The value that is next, or the `RowError` that it is; raises ValueError as `json` does."""
        self.sign()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except RecursionError:
                self._leave()
                return _too_deep()
            except json.JSONDecodeError as error:
                cut_off = error.pos + _LONGEST > len(self._text) or error.msg.startswith("Unterminated string")
                if not cut_off or not self._more():
                    self._at = error.pos
                    raise ValueError(error.msg) from error  # its line and column are those of the window
            else:
                if end + _LONGEST < len(self._text) or not self._more():  # near the window's end 1 may be cut from 1e-5
                    self._at = end
                    return value

    def _leave(self) -> None:
        """Goes on behind the list or object that is next; raises ValueError where the file ends within it."""
        while (end := _end(self._text, self._at)) is None:
            if not self._more():
                raise ValueError("it is nested too deeply, and has no end")
        self._at = end

    def _more(self) -> bool:
        """Whether there was more to read: twice as much each time for a long value.  What was decoded is dropped."""
        if len(self._text) - self._at > _LARGEST:
            raise ValueError(f"a row of more than {_LARGEST:,} characters, or a quote that is never closed")
        if not (read := self._file.read(max(_STEP, len(self._text) - self._at))):
            return False
        self._first_line = self.line
        self._text, self._at = self._text[self._at :] + read, 0
        return True


def _end(text: str, at: int) -> int | None:
    """Where the list or object that begins ``at`` this place ends, by its brackets alone; None: not in this text."""
    depth = 0
    for found in _BRACKETS.finditer(text, at):
        depth += _DEPTH.get(found[0], 0)
        if depth == 0:
            return found.end()
    return None


def _too_deep() -> RowError:
    return RowError("wrong type", "a row's lists and objects are nested too deeply")


_BRACKETS = re.compile(r""""(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{}]""", re.DOTALL)
"""Brackets, and texts, whose brackets do not count; one that is cut off goes on to the end."""
_DEPTH = {"[": 1, "{": 1, "]": -1, "}": -1}
_DECODER = json.JSONDecoder()
_SIGN = re.compile(r"[^ \t\n\r]")
_HEAD = 1 << 16  # bytes that say what a file is
_STEP = 1 << 16  # characters
_LARGEST = 1 << 28  # characters of a row: more would be hundreds of pictures in it
_LONGEST = 20  # characters by which `json` may be mistaken about what is cut off, texts apart: -Infinity


def _lines(path: Path) -> Iterator[Record]:
    some = False
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            record: Any
            try:
                record = json.loads(line.decode("utf-8-sig").strip())
                some = True
            except RecursionError:
                record = _too_deep()
            except ValueError as error:
                if not some and number == 1:
                    raise _no_rows(path, error) from error
                record = RowError("broken line", f"not JSON ({_fault(error)})")
            yield f"{path}:{number}", record


def _no_rows(path: Path, error: ValueError) -> MendableError:
    """The error for a file whose first line is no JSON, at the line where the file as a whole stops being JSON."""
    fix = "one JSON object a line, or one JSON list of them"
    line, why = 1, _fault(error)
    try:
        if path.stat().st_size <= _LARGEST:
            whole = json.loads(path.read_text(encoding="utf-8-sig"))
            why = f"one JSON {'object' if isinstance(whole, dict) else 'value'} over several lines"
    except json.JSONDecodeError as fault:
        line, why = fault.lineno, _fault(fault)
    except (ValueError, RecursionError):
        pass  # the first line's own fault is all that is known
    return MendableError(f"neither JSON lines nor a JSON list ({why})", f"{path}:{line}", fix)


def _fault(error: ValueError) -> str:
    """What is wrong, and where in the line."""
    return f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else f"{error!s:.100}"
