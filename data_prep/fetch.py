"""One file over HTTP: whole, checked and under its name, or not there at all.

What has arrived is kept beside its place as NAME.part, and NAME.part.of says which version of which file it is part of;
the next try, or the next call, asks the server for the rest (RFC 9110, sections 13.1.5 and 14: If-Range and Range).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.progress import progress_bar
from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import read_json, write_json

if TYPE_CHECKING:
    from requests import Response

PAUSES = (1, 2, 4, 8, 16)
"""Seconds before each new try; so many tries in turn may bring nothing worth having."""
WORTH = 1 << 20
"""Bytes by which a try has to get further than all before it, for the counting to begin anew."""
MARGIN = 1_000_000_000
"""Bytes of the disk that are left free."""
_BLOCK = 1 << 20
_TIMEOUT = (10, 60)  # seconds to connect, and between two blocks
_PASSING = {408, 425, 429, 500, 502, 503, 504}


def digest(path: Path, algorithm: str = "sha256") -> str:
    """``ALGORITHM:HEX`` of a file."""
    with path.open("rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


def remote_size(url: str) -> int | None:
    """How many bytes the server says that the file has; None where it does not say, or does not answer."""
    import requests

    try:
        answer = requests.head(url, allow_redirects=True, timeout=_TIMEOUT, headers={"Accept-Encoding": "identity"})
    except requests.RequestException:
        return None
    return _number(answer.headers.get("Content-Length")) if answer.ok else None


def check_room(folder: Path, needed: int) -> None:
    """Raises MendableError unless the disk has so many bytes left, and `MARGIN` beside."""
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed + MARGIN:
        raise MendableError(
            f"{gigabytes(needed)} are needed, and {gigabytes(MARGIN)} to spare; the disk has {gigabytes(free)} left",
            str(folder),
            "make room, or name a folder on another disk with --folder",
        )


def gigabytes(size: int) -> str:
    """A number of bytes for people."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"


def fetch(url: str, path: Path, size: int | None = None, checksum: str = "", page: str = "") -> str:
    """Fetches ``url`` as ``path`` and returns its checksum; ``size`` and ``checksum`` are what is published of it.

    Raises MendableError where the disk is full, where the server refuses or has another file than the published one,
    and where it breaks off too often; in the last case the next call goes on from there.
    """
    part = _Part(path, url, checksum.partition(":")[0] or "sha256")
    furthest, fruitless, anew = part.size, 0, False
    with progress_bar(total=_megabytes(size), description=path.name, unit="MB") as bar:
        while True:
            try:
                _try(part, size, bool(checksum), page, bar)
            except _Again as fault:
                fruitless = 0 if part.size >= furthest + WORTH else fruitless + 1
                furthest = max(furthest, part.size)
                if fruitless == len(PAUSES):
                    what = f"the download broke off {fruitless} times in turn ({fault})"
                    raise MendableError(what, url, "the same command later goes on from here") from fault
                time.sleep(max(PAUSES[fruitless], fault.wait))
                continue
            if not checksum or part.checksum == checksum:
                part.finish()
                return part.checksum
            found, several = part.checksum, part.pieces > 1
            part.clear()
            if anew or not several:  # pieces that do not fit together are fetched once more, in one
                raise MendableError(
                    f"what arrived as {path.name} is not the published file ({found}, not {checksum}); it was removed",
                    url,
                    f"try again; if it stays so, see whether {page or 'its page'} has another one",
                )
            anew = True


class _Again(Exception):
    """A fault that may pass; ``wait`` is for how many seconds the server asks."""

    def __init__(self, what: str, wait: int = 0) -> None:
        super().__init__(what)
        self.wait = wait


class _Part:
    """What has arrived of a file, hashed as it comes, and which version of the file it is part of."""

    def __init__(self, final: Path, url: str, algorithm: str) -> None:
        self.final, self.url, self.algorithm = final, url, algorithm
        self.path, self._note = (final.with_name(final.name + end) for end in (".part", ".part.of"))
        self.version, self.size, self.pieces, self._hash = "", 0, 0, hashlib.new(algorithm)
        if os.path.lexists(self.path) and not self._note.is_file():
            what = f"expected no {self.path.name}, or one that this command left: got one without {self._note.name}"
            raise MendableError(what, str(self.path), "move it away; it was not touched")
        try:
            note = read_json(self._note)
            if note["url"] != url:
                raise ValueError("part of another file")
            with self.path.open("rb") as file:
                while block := file.read(_BLOCK):
                    self._hash.update(block)
                    self.size += len(block)
            self.version, self.pieces = str(note["version"]), 1
        except (MendableError, OSError, ValueError, KeyError, TypeError):
            self.clear()

    @property
    def checksum(self) -> str:
        return f"{self.algorithm}:{self._hash.hexdigest()}"

    def write(self, blocks: Iterable[bytes], version: str, most: int | None, bar: Any) -> None:
        """Appends the blocks, which are of this version; raises _Again where the file would exceed ``most`` bytes."""
        write_json(self._note, {"url": self.url, "version": version})
        self.version = version
        self.pieces += 1
        with self.path.open("ab" if self.size else "wb") as file:
            for block in blocks:
                if most is not None and self.size + len(block) > most:
                    raise _Again(f"more than the file's {most:,} bytes arrived")
                file.write(block)
                self._hash.update(block)
                self.size += len(block)
                bar.update(self.size // 1_000_000 - bar.n)

    def clear(self) -> None:
        """Begins anew."""
        self.version, self.size, self.pieces, self._hash = "", 0, 0, hashlib.new(self.algorithm)
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def finish(self) -> None:
        """Gives the file its name."""
        self.path.replace(self.final)
        self._note.unlink(missing_ok=True)


def _try(part: _Part, size: int | None, known: bool, page: str, bar: Any) -> None:
    """Asks once for what is missing; raises _Again where asking again may help."""
    import requests
    from urllib3.exceptions import HTTPError

    if part.size and part.size == size:
        return
    headers = {"Accept-Encoding": "identity"}
    if part.size and (part.version or known):  # pieces of a file without version can only be trusted by its checksum
        headers["Range"] = f"bytes={part.size}-"
        if part.version:
            headers["If-Range"] = part.version
    try:
        with requests.get(part.url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
            _receive(answer, part, size, known, page, bar)
    except (requests.RequestException, HTTPError) as error:
        raise _Again(f"{type(error).__name__}: {error!s:.200}") from error
    except OSError as error:
        raise MendableError(
            f"{part.final.name} cannot be kept ({error})",
            str(part.path.parent),
            "make room there, or see who may write",
        ) from error


def _receive(answer: Response, part: _Part, size: int | None, known: bool, page: str, bar: Any) -> None:
    status, moved = answer.status_code, f"see {page or 'its page'}: the file may have moved"
    if status in _PASSING:
        raise _Again(f"the server answers {status}", min(_number(answer.headers.get("Retry-After")) or 0, 120))
    if status not in (200, 206, 416) or (status == 416 and not part.size):
        raise MendableError(f"the server answers {status} {answer.reason}", part.url, moved)
    start, whole = _extent(answer)
    if status == 416 and whole == part.size:
        return  # nothing is missing
    version = _version(answer)
    if (
        status == 416
        or start != (part.size if status == 206 else 0)
        or (status == 206 and part.version and version and version != part.version)
    ):
        part.clear()
        raise _Again("the server has another file than before")
    if status == 200:
        part.clear()
    if size is not None and whole is not None and whole != size:
        part.clear()
        raise MendableError(f"the server's file has {whole:,} bytes, the published one {size:,}", part.url, moved)
    whole = size if whole is None else whole
    if whole is not None:
        check_room(part.path.parent, whole - part.size)
    elif not known and answer.headers.get("Transfer-Encoding") != "chunked":
        raise MendableError("neither length nor checksum of the file is known: it could be cut", part.url, moved)
    # as they are stored: some servers call a .tgz an encoding of a .tar
    part.write(answer.raw.stream(_BLOCK, decode_content=False), version, whole, bar)
    if whole is not None and part.size < whole:
        raise _Again(f"{part.size:,} of {whole:,} bytes arrived")


def _extent(answer: Response) -> tuple[int, int | None]:
    """(where the body starts in the file, the file's length if the server says)."""
    if answer.status_code == 200:
        return 0, _number(answer.headers.get("Content-Length"))
    found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", answer.headers.get("Content-Range", "").strip())
    return (int(found[1] or -1), _number(found[2])) if found else (-1, None)


def _version(answer: Response) -> str:
    """What If-Range may name: the file's strong ETag, else its date."""
    tag = answer.headers.get("ETag", "")
    return answer.headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None


def _megabytes(size: int | None) -> int | None:
    return None if size is None else size // 1_000_000
