"""Archives give their chosen members and nothing else, and hostile or damaged ones leave no trace."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from data_prep import unpack as module
from data_prep.unpack import unpack
from mlplora_vlm.errors import MendableError

FILES = {
    "set/train/1.jpg": b"one" * 1000,
    "set/train/deep/2.jpg": b"two",
    "set/rows.json": b"[]",
    "set/huge.bin": bytes(10**6),
    "set/training.txt": b"-",
}
UNITS = (("set/train", "pictures/train"), ("set/rows.json", "rows.json"))


def zipped(path: Path, files: dict[str, bytes] = FILES) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path: Path, files: dict[str, bytes] = FILES, *others: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o4777
            archive.addfile(info, io.BytesIO(content))
        for info in others:
            archive.addfile(info)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(autouse=True)
def no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "progress_bar", lambda rows, **_: rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder to unpack into, beside the archive."""
    (tmp_path / "to").mkdir()
    return tmp_path / "to"


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_units_come_to_their_places_and_nothing_else(tmp_path: Path, folder: Path, pack: Callable) -> None:
    unpack(pack(tmp_path / "a.archive"), folder, UNITS, 10_000)
    assert tree(folder) == {
        "pictures/train/1.jpg": FILES["set/train/1.jpg"],
        "pictures/train/deep/2.jpg": b"two",
        "rows.json": b"[]",
    }
    assert {path.name for path in folder.iterdir()} == {"pictures", "rows.json"}  # no traces of the work
    assert not (folder / "pictures/train/1.jpg").stat().st_mode & (stat.S_ISUID | stat.S_IXUSR)


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_an_empty_name_is_the_whole_archive(tmp_path: Path, folder: Path, pack: Callable) -> None:
    unpack(pack(tmp_path / "a.archive", {"./1.jpg": b"1", "2.jpg": b"2"}), folder, (("", "all"),), 100)
    assert tree(folder) == {"all/1.jpg": b"1", "all/2.jpg": b"2"}


def test_what_is_there_stays(tmp_path: Path, folder: Path) -> None:
    (folder / "rows.json").write_text("mine")
    unpack(zipped(tmp_path / "a.zip"), folder, UNITS, 10_000)
    assert (folder / "rows.json").read_text() == "mine"
    assert (folder / "pictures/train/1.jpg").exists()


def test_an_interrupted_unpacking_leaves_nothing_and_is_repeated(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, copy = zipped(tmp_path / "a.zip"), module._copy

    def interrupted(content: IO[bytes], path: Path) -> None:
        if path.name == "2.jpg":
            raise KeyboardInterrupt
        copy(content, path)

    with monkeypatch.context() as patch:
        patch.setattr(module, "_copy", interrupted)
        with pytest.raises(KeyboardInterrupt):
            unpack(archive, folder, UNITS, 10_000)
    assert list(folder.iterdir()) == []
    (folder / ".a.zip.unpacking" / "pictures").mkdir(parents=True)  # as a killed process leaves it
    (folder / ".a.zip.unpacking" / "rows.json").write_text("half")
    (folder / ".a.zip.unpacking" / module._MARK).touch()
    unpack(archive, folder, UNITS, 10_000)
    assert tree(folder)["rows.json"] == b"[]"
    assert not (folder / ".a.zip.unpacking").exists()


def test_a_folder_of_the_users_own_is_not_removed_before_or_after(tmp_path: Path, folder: Path) -> None:
    mine = folder / ".a.zip.unpacking" / "notes.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(MendableError, match="this command left") as error:
        unpack(zipped(tmp_path / "a.zip"), folder, UNITS, 10_000)
    assert error.value.where == str(mine.parent) and mine.read_text() == "mine"


def linked(kind: bytes, to: str, name: str = "set/train/evil") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


def zip_link(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
        info = zipfile.ZipInfo("set/train/evil")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc")
    return path


def twice(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("set/rows.json", "[]")
        archive.writestr("set/rows.json", "other")
        archive.writestr("set/train/1.jpg", "1")
    return path


def changed(pack: Callable, at: Callable[[bytes], int]) -> Callable[[Path], Path]:
    """The archive with one byte another."""

    def make(path: Path) -> Path:
        content = bytearray(pack(path).read_bytes())
        content[at(bytes(content))] ^= 0xFF
        path.write_bytes(content)
        return path

    return make


def cut(pack: Callable) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        path.write_bytes(pack(path).read_bytes()[:-40])
        return path

    return make


def page(path: Path) -> Path:
    path.write_text("<!DOCTYPE html>\n<p>please log in")
    return path


def nothing(path: Path) -> Path:
    path.touch()
    return path


def locked(path: Path) -> Path:
    content = bytearray(zipped(path).read_bytes())
    for start in (b"PK\x03\x04", b"PK\x01\x02"):
        content[content.index(start) + (6 if start == b"PK\x03\x04" else 8)] |= 1
    path.write_bytes(content)
    return path


HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    **{
        f"{pack.__name__} {name}": (
            lambda path, pack=pack, name=name: pack(path, FILES | {name: b"evil"}),
            "would lie outside",
        )
        for pack in (zipped, tarred)
        for name in ("../evil", "set/train/../../../evil", "/tmp/evil", "set\\..\\..\\evil", "C:evil")
    },
    "symbolic link in a tar": (lambda path: tarred(path, FILES, linked(tarfile.SYMTYPE, "/etc")), "a link"),
    "symbolic link inside": (lambda path: tarred(path, FILES, linked(tarfile.SYMTYPE, "1.jpg")), "a link"),
    "hard link": (lambda path: tarred(path, FILES, linked(tarfile.LNKTYPE, "../../etc/passwd")), "a link"),
    "device": (lambda path: tarred(path, FILES, linked(tarfile.CHRTYPE, "")), "a device"),
    "pipe": (lambda path: tarred(path, FILES, linked(tarfile.FIFOTYPE, "")), "a device"),
    "symbolic link in a zip": (zip_link, "a link"),
    "bomb in a zip": (lambda path: zipped(path, FILES | {"set/train/b": bytes(10**7)}), "more than the 10,000 bytes"),
    "bomb in a tar": (lambda path: tarred(path, FILES | {"set/train/b": bytes(10**7)}), "more than the 10,000 bytes"),
    "unit missing": (lambda path: zipped(path, {"set/rows.json": b"[]"}), "holds no 'set/train'"),
    "empty": (lambda path: zipped(path, {}), "holds no"),
    "member twice": (twice, "File exists"),
    "file as folder": (lambda path: tarred(path, {"set/rows.json": b"", "set/train": b"", "set/train/1": b""}), "1"),
    "zip cut": (cut(zipped), "damaged"),
    "tar cut": (cut(tarred), "damaged"),
    "zip with another byte": (changed(zipped, lambda c: c.index(b"rows.json") + 9), "damaged"),
    "tar with another byte": (changed(tarred, lambda c: len(c) - 5), "damaged"),
    "zip with a password": (locked, "damaged"),
    "a page in place of it": (page, "damaged"),
    "nothing": (nothing, "damaged"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_and_damaged_archives_leave_no_trace(tmp_path: Path, folder: Path, case: str) -> None:
    make, says = HOSTILE[case]
    archive = make(tmp_path / "a.archive")
    with pytest.raises(MendableError, match=says):
        unpack(archive, folder, UNITS, 10_000)
    assert list(folder.iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"a.archive", "to"}
    assert not Path("/tmp/evil").exists()


NAMES = (
    st.lists(
        st.sampled_from(
            ["set", "train", "..", ".", "", "/", "\\", "C:", "rows.json", "1.jpg", "é", "\udcff", " ", "x" * 300]
        ),
        min_size=1,
        max_size=5,
    )
    .map("/".join)
    .filter(bool)
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(NAMES, max_size=5), st.booleans())
@example(["set/train/1.jpg", "set/train"], True)
def test_whatever_members_are_called_nothing_appears_outside(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], zip_or_tar: bool
) -> None:
    room = tmp_path_factory.mktemp("any")
    (room / "deep" / "to").mkdir(parents=True)
    files = {name: b"x" for name in names} | {"set/train/1.jpg": b"1", "set/rows.json": b"[]"}
    try:
        archive = (zipped if zip_or_tar else tarred)(room / "a.archive", files)
    except UnicodeEncodeError:
        return
    whole = False
    try:
        unpack(archive, room / "deep" / "to", UNITS, 1000)
        whole = True
    except MendableError:
        pass
    assert {path.name for path in room.iterdir()} == {"a.archive", "deep"}
    assert {path.name for path in (room / "deep").iterdir()} == {"to"}
    there = {path.name for path in (room / "deep" / "to").iterdir()}
    assert there == ({"pictures", "rows.json"} if whole else set())
