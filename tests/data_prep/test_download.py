"""A set into a folder: only what is missing is fetched, everything is checked, and archives become what they should."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from dropping_server import Fault, Server, serve
from filelock import FileLock

from data_prep import download, fetch
from data_prep.download import KNOWN, Step, get, needed, plan
from data_prep.public_sets import PublicFile, PublicSet
from mlplora_vlm.errors import MendableError

ROWS = b'[{"question": "what?"}]'
PAGE = "https://example.org/set"


def archive(files: dict[str, bytes], tar: bool = False) -> bytes:
    out = io.BytesIO()
    if tar:
        with tarfile.open(fileobj=out, mode="w:gz") as packed:
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                packed.addfile(info, io.BytesIO(content))
    else:
        with zipfile.ZipFile(out, "w") as packed_zip:
            for name, content in files.items():
                packed_zip.writestr(name, content)
    return out.getvalue()


PICTURES = archive({"train/1.jpg": b"one" * 400, "train/2.jpg": b"two" * 400, "readme": b"-"})
BY_HAND = archive({"1.png": b"png"}, tar=True)


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with serve() as server:
        yield server


@pytest.fixture
def server(running: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    running.forget()
    running.files = {"train.zip": PICTURES, "rows.json": ROWS}
    monkeypatch.setattr(fetch.time, "sleep", lambda _: None)
    return running


@pytest.fixture
def public(server: Server) -> PublicSet:
    """An archive with a published checksum, a file without, and an archive that asks for a person."""
    return PublicSet(
        "a_set",
        "A Set",
        "image_folder",
        "data/a_set",
        PAGE,
        "CC0",
        "Someone, 2026",
        (
            PublicFile(
                "train.zip",
                "images",
                server.url("train.zip"),
                len(PICTURES),
                sha256(PICTURES),
                "here",
                (("train", "pictures/train"),),
            ),
            PublicFile("rows.json", "annotations", server.url("rows.json")),
            PublicFile("hand.tgz", "images", unpacks=(("", "by_hand"),)),
        ),
        by_hand="ask for hand.tgz",
    )


def tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def done(public: PublicSet, folder: Path, **options: bool) -> list[str]:
    return list(get(plan(public, folder), folder, public.page, **options))


def test_the_plan_says_states_and_sizes_and_changes_nothing(public: PublicSet, server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    steps = plan(public, folder)
    assert [(step.file.name, step.state, step.size) for step in steps] == [
        ("train.zip", "to fetch", len(PICTURES)),
        ("rows.json", "to fetch", len(ROWS)),  # asked for: it is not published
        ("hand.tgz", "by hand", 0),
    ]
    assert [method for method, _, _ in server.asked] == ["HEAD"]
    assert not folder.exists()
    assert [step.file.name for step in plan(public, folder, "annotations")] == ["rows.json"]
    assert [step.file.name for step in plan(public, folder, "images")] == ["train.zip", "hand.tgz"]
    both = replace(public, files=(replace(public.files[0], kind="both"),))
    assert len(plan(both, folder, "images")) == len(plan(both, folder, "annotations")) == 1


def test_everything_comes_to_its_place_and_says_how_it_was_checked(
    public: PublicSet, server: Server, tmp_path: Path
) -> None:
    said = done(public, tmp_path)
    assert tree(tmp_path) - {f"{KNOWN}.lock"} == {"pictures/train/1.jpg", "pictures/train/2.jpg", "rows.json", KNOWN}
    assert len(said) == 2
    assert f"the published {sha256(PICTURES)}" in said[0] and "unpacked: pictures/train" in said[0]
    assert f"no checksum is published: {sha256(ROWS)} is trusted" in said[1] and KNOWN in said[1]
    known = json.loads((tmp_path / KNOWN).read_text())
    assert known["rows.json"] == {"checksum": sha256(ROWS), "published": False, "size": len(ROWS)}
    assert known["train.zip"]["published"]


def test_a_second_call_fetches_nothing_and_compares_again(public: PublicSet, server: Server, tmp_path: Path) -> None:
    done(public, tmp_path)
    server.forget()
    assert [step.state for step in plan(public, tmp_path)] == ["there", "there", "by hand"]
    said = done(public, tmp_path)
    assert server.asked == []
    assert "unpacked before" in said[0] and f"as the first time with {sha256(ROWS)}" in said[1]
    (tmp_path / "rows.json").write_bytes(b"[]")
    with pytest.raises(MendableError, match="not the file that came first"):
        done(public, tmp_path)


def test_a_file_without_published_checksum_has_to_be_the_same_again(
    public: PublicSet, server: Server, tmp_path: Path
) -> None:
    done(public, tmp_path)
    (tmp_path / "rows.json").unlink()
    server.files["rows.json"] = b"[{}]"
    with pytest.raises(MendableError, match="not the published file"):
        done(public, tmp_path)
    assert not (tmp_path / "rows.json").exists()
    server.files["rows.json"] = ROWS
    assert "as the first time" in done(public, tmp_path)[1]


def test_what_was_broken_off_goes_on_file_by_file(public: PublicSet, server: Server, tmp_path: Path) -> None:
    server.faults.extend([Fault(drop=300)] + [Fault(drop=0)] * 10)
    with pytest.raises(MendableError, match="broke off"):
        done(public, tmp_path)
    server.forget()
    assert plan(public, tmp_path)[0].size == len(PICTURES) - 300
    server.forget()
    done(public, tmp_path)
    assert [asked for method, _, asked in server.asked if method == "GET"] == ["bytes=300-", ""]
    assert (tmp_path / "pictures/train/1.jpg").exists()


def test_an_archive_by_hand_is_unpacked_and_checked_where_that_is_possible(
    public: PublicSet, server: Server, tmp_path: Path
) -> None:
    (tmp_path / "hand.tgz").write_bytes(BY_HAND)
    assert plan(public, tmp_path)[2].state == "to unpack"
    assert "is trusted" in done(public, tmp_path)[2]
    assert (tmp_path / "by_hand/1.png").read_bytes() == b"png"
    assert (tmp_path / "hand.tgz").exists()  # it may be hard to come by again
    checked = replace(public, files=(replace(public.files[2], checksum=sha256(BY_HAND), name="other.tgz"),))
    (tmp_path / "other.tgz").write_bytes(b"not it")
    (tmp_path / "by_hand/1.png").unlink()
    (tmp_path / "by_hand").rmdir()
    with pytest.raises(MendableError, match="not the file that is published") as error:
        done(checked, tmp_path)
    assert PAGE in error.value.fix
    assert (tmp_path / "other.tgz").exists()  # the user's own


def test_folders_of_the_users_own_are_left_alone(public: PublicSet, server: Server, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/train").symlink_to(tmp_path / "elsewhere")
    assert "there; not checked" in done(public, tmp_path)[0]
    assert "train.zip" not in [name for _, name, _ in server.asked]
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_file_of_which_a_part_is_there_is_fetched_for_the_rest(
    public: PublicSet, server: Server, tmp_path: Path
) -> None:
    two = replace(public.files[0], unpacks=(("train", "pictures/train"), ("readme", "readme")))
    (tmp_path / "readme").write_text("mine")
    done(replace(public, files=(two,)), tmp_path)
    assert (tmp_path / "pictures/train/1.jpg").exists()
    assert (tmp_path / "readme").read_text() == "mine"


def test_a_folder_that_a_person_fills_is_there_when_it_is_there(public: PublicSet, tmp_path: Path) -> None:
    filled = replace(public, files=(PublicFile("ocr/images", "images"),))
    assert plan(filled, tmp_path)[0].state == "by hand"
    assert done(filled, tmp_path) == []
    (tmp_path / "ocr/images").mkdir(parents=True)
    assert done(filled, tmp_path) == ["ocr/images: there; not checked"]


def test_a_damaged_archive_is_kept_out_and_not_trusted(public: PublicSet, server: Server, tmp_path: Path) -> None:
    unpublished = replace(public, files=(replace(public.files[0], checksum="", size=None),))
    server.files["train.zip"] = b"<html>please log in</html>"
    with pytest.raises(MendableError, match=r"train\.zip is not unpacked"):
        done(unpublished, tmp_path)
    assert not (tmp_path / "pictures").exists()
    assert not (tmp_path / KNOWN).exists()
    server.files["train.zip"] = PICTURES
    (tmp_path / "train.zip").unlink()
    done(unpublished, tmp_path)
    assert (tmp_path / "pictures/train/1.jpg").exists()


def test_an_archive_that_was_there_before_stays(public: PublicSet, server: Server, tmp_path: Path) -> None:
    (tmp_path / "train.zip").write_bytes(PICTURES)
    done(public, tmp_path)
    assert (tmp_path / "train.zip").read_bytes() == PICTURES and (tmp_path / "pictures/train/1.jpg").exists()


def test_archives_are_kept_when_asked(public: PublicSet, server: Server, tmp_path: Path) -> None:
    done(public, tmp_path, keep=True)
    assert (tmp_path / "train.zip").read_bytes() == PICTURES
    server.forget()
    done(public, tmp_path, keep=True)
    assert server.asked == []


def test_room_is_what_is_needed_at_the_worst_moment() -> None:
    def step(size: int, packed: bool = True, about: int | None = None, state: str = "to fetch") -> Step:
        file = PublicFile("a", "images", "http://x", size, unpacks=(("a", "b"),) if packed else (), about=about)
        return Step(file, state, size if state == "to fetch" else 0)  # type: ignore[arg-type]

    assert [step(1, about=5).unpacked, step(3).unpacked] == [5, 3]
    assert Step(PublicFile("a", "images"), "to fetch", 9).unpacked == 9  # what the server said
    steps = [step(100), step(40, about=400), step(7, packed=False)]
    assert needed(steps, keep=False) == 100 + 40 + 400  # the first archive is gone, what it held is not
    assert needed(steps, keep=True) == 100 + 100 + 40 + 400 + 7
    assert needed([step(100), step(10)], keep=False) == 200
    assert needed([step(100, state="there"), step(100, state="by hand")], keep=False) == 0
    assert needed([step(100, state="to unpack")], keep=False) == 100


def test_a_second_process_is_kept_out(public: PublicSet, tmp_path: Path) -> None:
    with FileLock(tmp_path / f"{KNOWN}.lock"), pytest.raises(MendableError, match="another process"):
        done(public, tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '{"rows.json": 3}', "\udcff"])
def test_a_damaged_memory_is_said(public: PublicSet, tmp_path: Path, content: str) -> None:
    (tmp_path / KNOWN).write_text(content, errors="surrogateescape")
    with pytest.raises(MendableError, match="cannot be read") as error:
        done(public, tmp_path)
    assert error.value.where == str(tmp_path / KNOWN)


def test_nothing_that_it_leaves_behind_is_taken_for_rows(public: PublicSet, server: Server, tmp_path: Path) -> None:
    server.faults.extend([Fault()] + [Fault(drop=3)] + [Fault(drop=0)] * 10)
    with pytest.raises(MendableError, match="broke off"):
        done(public, tmp_path)
    assert (tmp_path / "rows.json.part").exists()
    assert list(tmp_path.glob("*.json")) == []  # the sources of users' files look for the only one
    assert download.KNOWN in tree(tmp_path)
