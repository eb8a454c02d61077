"""A folder made once, kept in the user's cache and checked by hash before each use."""

from __future__ import annotations

import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import read_json, refuse_foreign, sha256, write_json

MANIFEST = "manifest.json"


def cache_root() -> Path:
    """``$MLPLORA_CACHE``, else ``$XDG_CACHE_HOME/mlplora_vlm``, else ``~/.cache/mlplora_vlm``."""
    if own := os.environ.get("MLPLORA_CACHE"):
        return Path(own).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mlplora_vlm"


def cached_folder(name: str, made_from: dict[str, str], build: Callable[[Path], None], size: int) -> Path:
    """The cache's folder ``name``, which ``build`` fills when there is none, or none that can be used.

    ``made_from`` (what -> version or hash) stands in the manifest beside the SHA-256 of every file; a folder that was
    made from something else, or of which a file differs, is made anew, and stderr says why.  The work happens in a
    sibling folder that is renamed at the end, under a lock: a killed process leaves no half folder, and a second one
    waits for the first.  ``size`` is about how many bytes ``build`` writes.
    Raises MendableError where the cache cannot be written or the disk is too full.
    """
    final = cache_root() / name
    if final.exists() and not fault(final, made_from):
        return final
    with _alone(final):
        if final.exists():  # looked at again: another process may have made it in the meantime
            if not (why := fault(final, made_from)):
                return final
            if not (final / MANIFEST).is_file():
                refuse_foreign(final)
            print(f"{final}: {why}; it is made anew", file=sys.stderr)
        for left_behind in final.parent.glob(f".{name}.*.unfinished"):  # by a process that was killed
            shutil.rmtree(left_behind, ignore_errors=True)
        _check_space(final.parent, size)
        making, old = (final.parent / f".{name}.{uuid.uuid4().hex}.unfinished" for _ in range(2))
        try:
            making.mkdir()
            build(making)
            _write_manifest(making, made_from)
            if final.exists():
                final.rename(old)
            making.rename(final)
        finally:
            shutil.rmtree(making, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)
    return final


def fault(folder: Path, made_from: dict[str, str]) -> str:
    """Why the folder cannot be used as one made from ``made_from``, in a few words; empty when it can."""
    try:
        manifest = read_json(folder / MANIFEST)
        before, files = dict(manifest["made_from"]), dict(manifest["files"])
    except (MendableError, ValueError, KeyError, TypeError):
        return f"its {MANIFEST} is missing or damaged"
    if changed := sorted(key for key in before.keys() | made_from.keys() if before.get(key) != made_from.get(key)):
        return f"it was made from something else (changed: {', '.join(changed)})"
    for name, digest in files.items():
        if not (folder / name).is_file():
            return f"{name} is missing"
        if sha256(folder / name) != digest:
            return f"{name} is damaged"
    return ""


def _write_manifest(folder: Path, made_from: dict[str, str]) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    manifest = {"made_from": made_from, "files": {path.relative_to(folder).as_posix(): sha256(path) for path in files}}
    write_json(folder / MANIFEST, manifest)


@contextmanager
def _alone(final: Path) -> Iterator[None]:
    """Waits until no other process makes this folder; the lock goes with its holder, also with a killed one."""
    import fcntl  # POSIX alone: imported late, so that the rest of the module loads anywhere

    lock = final.parent / f".{final.name}.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("w")
    except OSError as error:
        raise MendableError(
            f"the cache folder cannot be written ({error.strerror})",
            str(lock.parent),
            "set MLPLORA_CACHE to another one",
        ) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _check_space(folder: Path, size: int) -> None:
    if (free := shutil.disk_usage(folder).free) < size:
        raise MendableError(
            f"the cache needs {size / 1e6:.0f} MB, the disk has {free / 1e6:.0f} MB left",
            str(folder),
            "make room, or set MLPLORA_CACHE to a folder on another disk",
        )
