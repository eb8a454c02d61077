"""Files that are whole or absent: written beside their place, then renamed."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlplora_vlm.errors import MendableError

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
    write_text(path, json.dumps(_finite(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path) -> Any:
    """The value in a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


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
