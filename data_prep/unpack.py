"""Archives: chosen members into a folder, and nothing beside; what is not unpacked to its end leaves no trace.

Of a member, its name and its content are taken and nothing else: no owner, no rights, no link, no device.
"""

from __future__ import annotations

import lzma
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from data_prep.progress import progress_bar
from mlplora_vlm.errors import MendableError

_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    OverflowError,
    IndexError,
    EOFError,
    RuntimeError,  # zipfile: a password is needed
    NotImplementedError,  # zipfile: an unknown compression
    ValueError,
)

_MARK = ".mlplora_vlm"
"""File in a folder of unfinished work that says whose it is."""
Member = tuple[str, int, IO[bytes]]
"""(name, bytes, what to read them from: never more than are announced)."""


def unpack(archive: Path, folder: Path, units: tuple[tuple[str, str], ...], most: int) -> None:
    """Unpacks each (name in the archive, place in the folder) of ``units``, files or folders; an empty name is all.

    A place that exists stays as it is.  All places appear at the end, each at once.  Raises MendableError for an
    archive that is damaged, lacks a unit, has more than ``most`` bytes in them, or has a member that would lie outside,
    a link or a device; in each case nothing was unpacked.
    """
    staging = folder / f".{archive.name}.unpacking"
    left = most
    try:
        _make_staging(staging)
    except OSError as error:
        raise _unwritable(archive, folder, error) from error
    try:
        with _open(archive) as members:
            for name, size, content in progress_bar(
                members, total=None, description=f"unpacking {archive.name}", unit=" files"
            ):
                for member, place in units:
                    if (inner := _within(name, member)) is not None:
                        left -= size
                        if left < 0:
                            raise _refused(archive, f"it holds more than the {most:,} bytes that were to be expected")
                        _copy(content, staging / place / inner)
        if missing := [member for member, place in units if not (staging / place).exists()]:
            raise _refused(archive, f"it holds no {', '.join(map(repr, missing))}")
        for _, place in units:
            target = folder / place
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                (staging / place).rename(target)
    except _DAMAGED as error:
        raise _refused(archive, f"it is damaged ({type(error).__name__}: {error!s:.200})") from error
    except OSError as error:
        raise _unwritable(archive, folder, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _make_staging(staging: Path) -> None:
    """Make the folder anew, in place of the one that a killed process left, but of no other."""
    if staging.is_dir() and any(staging.iterdir()) and not (staging / _MARK).is_file():
        what = "expected no folder of this name, or one that this command left"
        raise MendableError(what, str(staging), "move it away; nothing was removed")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    (staging / _MARK).touch()


def _unwritable(archive: Path, folder: Path, error: OSError) -> MendableError:
    what = f"{archive.name} cannot be unpacked ({error})"
    return MendableError(what, str(folder), "make room there, or see who may write")


def _within(name: str, member: str) -> str | None:
    """The rest of ``name`` below ``member``, empty for the member itself; None where it lies elsewhere."""
    if not member:
        return name
    return "" if name == member else name[len(member) + 1 :] if name.startswith(f"{member}/") else None


def _copy(content: IO[bytes], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:  # no member twice
        shutil.copyfileobj(content, file, 1 << 20)


@contextmanager
def _open(archive: Path) -> Iterator[Iterator[Member]]:
    """The archive's files, one after the other, under names that lead nowhere else."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            yield _zip_members(archive, file)
    else:
        with tarfile.open(archive) as file:
            yield _tar_members(archive, file)
            while file.fileobj is not None and file.fileobj.read(1 << 20):
                pass  # the archive ends before its compression does, and that has the checksum


def _zip_members(archive: Path, file: zipfile.ZipFile) -> Iterator[Member]:
    infos = [(_inside(archive, info.filename), info) for info in file.infolist()]  # all before the first is unpacked
    for name, info in infos:
        if (info.external_attr >> 16) & 0o170000 not in (0, 0o100000, 0o040000):
            raise _refused(archive, f"{name!r} in it is a link or a device")
    for name, info in infos:
        if not info.is_dir():
            with file.open(info) as content:
                yield name, info.file_size, content


def _tar_members(archive: Path, file: tarfile.TarFile) -> Iterator[Member]:
    for info in file:
        name = _inside(archive, info.name)
        if info.isfile():
            content = file.extractfile(info)
            assert content is not None
            yield name, info.size, content
        elif not info.isdir():
            raise _refused(archive, f"{name!r} in it is a link or a device")


def _inside(archive: Path, name: str) -> str:
    """The member's name without ``./``; raises MendableError where it would lead out of the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or name[1:2] == ":":
        raise _refused(archive, f"{name!r:.200} in it would lie outside the folder")
    return str(path)


def _refused(archive: Path, why: str) -> MendableError:
    fix = "remove it, and fetch it again; or unpack it yourself, if you trust it"
    return MendableError(f"{archive.name} is not unpacked: {why}", str(archive), fix)
