"""Files that are whole or absent: written beside their place, then renamed; and readers that name a broken file."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplora_vlm.errors import MendableError

if TYPE_CHECKING:
    from torch import Tensor

LFS_POINTER = b"version https://git-lfs"
REPLACE = "copy or download the file again"

STAMP = ".mlplora_vlm"
"""File that marks a folder as an output folder of this project."""


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically; its folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically; a number that is not finite becomes null, which every JSON reader takes.

    Raises TypeError, with nothing written, for a value that JSON has no form for.
    """
    write_text(path, json_text(_finite(value), indent=1, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_text(value: Any, **options: Any) -> str:
    """JSON as it reads; a lone surrogate, which no encoding holds, stays escaped.  ``options``: of `json.dumps`."""
    text = json.dumps(value, ensure_ascii=False, **options)
    return re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text)


def read_json(path: Path, expected: type | None = None) -> Any:
    """The value in a JSON file; ``expected``: its type, dict or list.

    Raises `MendableError` with file and line where the file is missing, not readable, or something else.
    """
    with readable(path):
        return parse_json(path.read_bytes(), path, expected)


def parse_json(raw: bytes, path: Path, expected: type | None = None, line: int = 1) -> Any:
    """The value of JSON text; ``line``: the number of its first line in the file ``path``.  Raises `MendableError`."""
    try:
        value = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        line += raw.count(b"\n", 0, error.start)
        raise MendableError(f"{path.name} is not UTF-8 text", f"{path}:{line}", REPLACE) from None
    except json.JSONDecodeError as error:
        what = f"{path.name} is not JSON: {error.msg} at column {error.colno}"
        raise MendableError(what, f"{path}:{line + error.lineno - 1}", REPLACE) from None
    except (ValueError, RecursionError) as error:  # a number of too many digits, or nested too deeply
        raise MendableError(f"{path.name} is not JSON: {error}", f"{path}:{line}", REPLACE) from None
    if expected is not None and not isinstance(value, expected):
        names = {dict: "an object", list: "a list", str: "a string", type(None): "null"}
        what = f"{path.name}: expected {names[expected]}, got {names.get(type(value), type(value).__name__)}"
        raise MendableError(what, f"{path}:{line}", REPLACE)
    return value


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file by name.  Raises `MendableError` as `open_tensors` does."""
    with open_tensors(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def open_tensors(path: Path, **options: Any) -> Any:
    """A safetensors file opened by ``safe_open`` (with its ``options``), for its header or some of its tensors.

    Opening compares the header with the file's size.  Raises `MendableError` where the file is missing, truncated or
    something else.
    """
    from safetensors import SafetensorError, safe_open

    with readable(path):
        try:
            return safe_open(path, "pt", **options)
        except SafetensorError as error:
            what = f"{path.name} is truncated, or not a safetensors file: {error}"
            raise MendableError(what, str(path), REPLACE) from None


def is_lfs_pointer(path: Path) -> bool:
    """Whether the file names the large file that git should have put in its place."""
    with path.open("rb") as file:
        return file.read(len(LFS_POINTER)) == LFS_POINTER


def refuse_lfs_pointer(path: Path) -> None:
    """Raise `MendableError` where git has put a pointer in place of a large file."""
    if is_lfs_pointer(path):
        fix = f"run `git lfs pull` in {path.parent}, or download the file itself"
        raise MendableError(f"{path.name} is a git-LFS pointer, not the file itself", str(path), fix)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Raise `MendableError` where ``path`` is missing, empty, a git-LFS pointer or a web page, or reading it fails."""
    try:
        with path.open("rb") as file:
            head = file.read(256)
        if not head:
            raise MendableError(f"{path.name} is empty", str(path), REPLACE)
        refuse_lfs_pointer(path)
        if head.lstrip().lower().startswith((b"<!doctype", b"<html")):
            raise MendableError(f"{path.name} is a web page", str(path), "download the file itself")
        yield
    except FileNotFoundError:
        raise MendableError(f"{path.name} is missing", str(path), REPLACE) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise MendableError(f"{path.name} cannot be read: {reason}", str(path), REPLACE) from None


def digest(value: Any) -> str:
    """SHA-256 of a value that JSON can hold, the same for equal values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_claimable(folder: Path, *earlier: str) -> None:
    """Raise `MendableError` where ``folder`` is not an output folder of this project and cannot become one.

    A folder with content must have the stamp, or a file that matches one of the patterns ``earlier`` (left by versions
    without the stamp).
    """
    try:
        content = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
        known = not content or any(next(folder.glob(pattern), None) for pattern in (STAMP, *earlier))
    except OSError as error:
        raise _unusable(folder, error) from error
    if not known:
        raise MendableError(
            f"expected a new folder, an empty one or one made by this project, got one with {some_names(content)}",
            str(folder),
            "choose another output folder (--out or OUT=…)",
        )


def claim_folder(folder: Path, *earlier: str) -> None:
    """Make ``folder`` an output folder of this project: create it where it is missing, and stamp it.

    Raises `MendableError`, with nothing written, where `check_claimable` does.
    """
    check_claimable(folder, *earlier)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / STAMP).write_text("An output folder of mlplora_vlm, which may replace the files that it made here.\n")
    except OSError as error:
        raise _unusable(folder, error) from error


def _unusable(folder: Path, error: OSError) -> MendableError:
    what = f"the output folder cannot be used ({error.strerror})"
    return MendableError(what, str(folder), "choose another output folder (--out or OUT=…)")


def emptied_folder(folder: Path, *earlier: str) -> None:
    """Claim a folder (see `claim_folder`) and remove all that is in it but the stamp."""
    claim_folder(folder, *earlier)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != STAMP:
            path.unlink()


def files_below(folder: Path) -> set[str]:
    """The names of all files and links below a folder, relative to it; links are not followed."""
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return {path.relative_to(folder).as_posix() for path in paths}


def refuse_foreign(folder: Path, ours: Collection[str] = ()) -> None:
    """Raise `MendableError` where a folder that is to be replaced holds files other than ``ours``."""
    is_folder = folder.is_dir() and not folder.is_symlink()
    found = files_below(folder) if is_folder else {folder.name} if os.path.lexists(folder) else set()
    if foreign := sorted(found - set(ours)):
        raise MendableError(
            f"expected an empty folder or none, got {some_names(foreign)}; nothing was removed",
            str(folder),
            "choose another folder, or remove this one yourself",
        )


@contextmanager
def replaced_folder(folder: Path, ours: Collection[str] = ()) -> Iterator[Path]:
    """Yield an empty folder that takes the place of ``folder`` at the end, if nothing was raised.

    ``ours``: the files that may be there already, and are removed; see `refuse_foreign`.
    """
    refuse_foreign(folder, ours)
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
    except BaseException:
        shutil.rmtree(part)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    part.replace(folder)


def some_names(names: Collection[str]) -> str:
    """The number of names, and the first of them."""
    return f"{len(names)} other{'s' * (len(names) > 1)}: {', '.join(list(names)[:4])}{', …' * (len(names) > 4)}"
