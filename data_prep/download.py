"""A public set into a folder: what is missing of it, how much that is, and the fetching, checking and unpacking.

Beside the set's files the folder has ``.downloads``, which says of each file what checksum it had, and what was
unpacked from it.  Where no checksum is published, the first one is trusted, and asked for from then on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from data_prep.fetch import digest, fetch, remote_size
from data_prep.public_sets import PublicFile, PublicSet
from data_prep.unpack import unpack
from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import read_json, write_json

KNOWN = ".downloads"
BOMB = 4
"""An archive may hold so many times what is estimated."""

State = Literal["there", "to unpack", "to fetch", "by hand"]


@dataclass(frozen=True)
class Step:
    """A file of a set, and what is to be done about it."""

    file: PublicFile
    state: State
    size: int | None = 0
    """Bytes to fetch, without those that are there already; None: nobody says."""

    @property
    def unpacked(self) -> int | None:
        """Bytes that it takes up in the end; an estimate for an archive."""
        return self.file.about or self.file.size or self.size


def plan(chosen: PublicSet, folder: Path, only: str | None = None) -> list[Step]:
    """What there is to do about each of the set's files; ``only`` names the kind of files that are wanted.

    Asks the servers for the sizes that are not published; changes nothing.
    """
    files = [file for file in chosen.files if only in (None, file.kind) or file.kind == "both"]
    states = [(file, _state(file, folder)) for file in files]
    return [Step(file, state, _left(file, folder) if state == "to fetch" else 0) for file, state in states]


def needed(steps: list[Step], keep: bool) -> int:
    """The most bytes that the steps take up at a time beside what is there: an estimate, as the unpacked sizes are."""
    used = most = 0
    for step in steps:
        if step.state in ("to fetch", "to unpack"):
            unpacked = (step.unpacked or 0) if step.file.unpacks else 0
            used += (step.size or 0) + unpacked
            most = max(most, used)
            used -= (step.size or 0) if step.file.unpacks and not keep else 0
    return most


def get(steps: list[Step], folder: Path, page: str, keep: bool = False) -> Iterator[str]:
    """Does what is to be done, file by file, and yields a sentence on each that says how it was checked.

    The same call again goes on with what is missing.  What this call fetched is removed once unpacked, unless ``keep``.
    Raises MendableError as `fetch` and `unpack` do, where another process works in the folder, and for a file that is
    there and is not the published one, or not the one that came first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        known = _known(folder)
        for step in steps:
            if step.state != "by hand":
                file, before = step.file, known.get(step.file.name, {})
                known[file.name], said = _deal_with(file, folder, before, page, keep)
                write_json(folder / KNOWN, known)
                yield f"{file.name}: {said}"


def _state(file: PublicFile, folder: Path) -> State:
    if all((folder / place).exists() for place in file.places):
        return "there"
    if (folder / file.name).exists():
        return "to unpack"
    return "to fetch" if file.url else "by hand"


def _left(file: PublicFile, folder: Path) -> int | None:
    size = remote_size(file.url) if file.size is None else file.size
    part = folder / f"{file.name}.part"
    return max(size - part.stat().st_size, 0) if size is not None and part.exists() else size


def _deal_with(
    file: PublicFile, folder: Path, before: dict[str, Any], page: str, keep: bool
) -> tuple[dict[str, Any], str]:
    """(what `KNOWN` is to say of the file, what to tell the user)."""
    path, state = folder / file.name, _state(file, folder)
    if state == "there" and (file.unpacks or path.is_dir()):
        said = f"unpacked before, from {before.get('checksum')}" if before.get("unpacked") else "there; not checked"
        return before, said
    expected = file.checksum or before.get("checksum", "")
    if state == "to fetch":
        found, said = fetch(file.url, path, file.size, expected, page), "fetched"
    else:
        found, said = digest(path, expected.partition(":")[0] or "sha256"), "there"
        if expected and found != expected:
            raise MendableError(
                f"{file.name} is not the file that {'is published' if file.checksum else 'came first'}: it has "
                f"{found}, not {expected}",
                str(path),
                f"move it away; {'the same command then fetches it' if file.url else f'{page} has it'}",
            )
    if file.checksum:
        said += f", with the published {found}"
    elif before:
        said += f", as the first time with {found}"
    else:
        said += f"; no checksum is published: {found} is trusted, and asked for from now on ({folder / KNOWN})"
    entry: dict[str, Any] = {"checksum": found, "published": bool(file.checksum), "size": path.stat().st_size}
    if file.unpacks:
        unpack(path, folder, file.unpacks, BOMB * (file.about or entry["size"]))
        entry["unpacked"] = list(file.places)
        said += f"; unpacked: {', '.join(file.places)}"
        if state == "to fetch" and not keep:  # what was there before is the user's
            path.unlink()
    return entry, said


def _known(folder: Path) -> dict[str, Any]:
    path = folder / KNOWN
    if not path.exists():
        return {}
    try:
        return {name: dict(entry) for name, entry in read_json(path).items()}
    except (MendableError, ValueError, AttributeError, TypeError) as error:
        fix = "remove it: what is there is then checked anew where a checksum is published"
        raise MendableError(f"it cannot be read ({str(error).splitlines()[0]:.100})", str(path), fix) from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two processes that write the same parts would spoil them."""
    from filelock import FileLock, Timeout

    try:
        with FileLock(folder / f"{KNOWN}.lock", timeout=0):
            yield
    except Timeout as error:
        raise MendableError("another process downloads into this folder", str(folder), "wait for it") from error
