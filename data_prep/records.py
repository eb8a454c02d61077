"""Reads a user's JSON or JSONL file record by record: a file larger than memory is read like a small one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.rows import RowError
from mlplora_vlm.errors import MendableError

Record = tuple[str, Any]
"""(where it stands, the record, or a `RowError` for a line that is none)."""


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

    A broken line is yielded as a `RowError`.  Raises MendableError where the file is neither, and at the place where a
    list breaks off.
    """
    with path.open("rb") as file:
        start = file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    yield from _items(path) if start == b"[" else _lines(path)


def _items(path: Path) -> Iterator[Record]:
    import ijson

    number = 0
    with path.open("rb") as file:
        try:
            for item in ijson.items(_without_mark(file), "item", use_float=True):
                yield f"{path}, row {number}", item
                number += 1
        except (ijson.JSONError, ValueError, RecursionError) as error:  # not the reader's: it only ever receives rows
            raise MendableError(
                f"the list of rows breaks off after {number} rows ({error!s:.100})", str(path), "save it as valid JSON"
            ) from error


def _without_mark(file: Any) -> Any:
    if file.read(3) != b"\xef\xbb\xbf":
        file.seek(0)
    return file


def _lines(path: Path) -> Iterator[Record]:
    some = False
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            record: Any
            try:
                record = json.loads(line.decode("utf-8-sig"))
                some = True
            except (ValueError, RecursionError) as error:
                if not some and number == 1:
                    fix = "one JSON object a line, or one JSON list of them"
                    raise MendableError(
                        f"neither JSON lines nor a JSON list ({error!s:.100})", f"{path}:1", fix
                    ) from error
                record = RowError("broken line", f"not JSON ({error!s:.100})")
            yield f"{path}:{number}", record
