"""Whatever a server does, a file is there whole or not at all, and what had arrived is not asked for again."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from dropping_server import Fault, Server, serve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep import fetch as module
from data_prep.fetch import PAUSES, check_room, fetch, remote_size
from mlplora_vlm.errors import MendableError

CONTENT = bytes(range(256)) * 40
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
MD5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
"""What the tests' file is published with."""


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with serve() as server:
        yield server


@pytest.fixture
def server(running: Server) -> Server:
    running.forget()
    running.files = {"a.zip": CONTENT}
    return running


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that would have been waited."""
    waited: list[float] = []
    monkeypatch.setattr(module.time, "sleep", waited.append)
    monkeypatch.setattr(module, "progress_bar", lambda *_, **__: _Bar())
    return waited


class _Bar:
    n = 0

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None: ...

    def update(self, _: int) -> None: ...


def ranges(server: Server) -> list[str]:
    return [asked for _, _, asked in server.asked]


@pytest.mark.parametrize(("checksum", "returned"), [(SHA256, SHA256), (MD5, MD5), ("", SHA256)])
def test_a_file_comes_whole(server: Server, tmp_path: Path, checksum: str, returned: str) -> None:
    assert fetch(server.url("a.zip"), tmp_path / "a.zip", len(CONTENT), checksum) == returned
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_dropped_and_truncated_bodies_go_on_where_they_ended(server: Server, tmp_path: Path, pauses: list) -> None:
    server.faults.extend([Fault(drop=1000), Fault(drop=0), Fault(drop=500)])
    fetch(server.url("a.zip"), tmp_path / "a.zip", len(CONTENT), SHA256)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert ranges(server) == ["", "bytes=1000-", "bytes=1000-", "bytes=1500-"]
    assert server.sent == len(CONTENT)
    assert pauses == sorted(pauses) and len(pauses) == 3
    tag = f'"{hashlib.sha1(CONTENT).hexdigest()}"'
    assert [headers.get("If-Range", "") for headers in server.headers] == ["", tag, tag, tag]
    assert {headers["Accept-Encoding"] for headers in server.headers} == {"identity"}


def test_the_next_call_goes_on_and_hashes_what_was_there(server: Server, tmp_path: Path) -> None:
    server.faults.extend([Fault(drop=4000)] + [Fault(drop=0)] * len(PAUSES))
    with pytest.raises(MendableError, match=r"broke off 5 times in turn") as error:
        fetch(server.url("a.zip"), tmp_path / "a.zip", len(CONTENT), SHA256)
    assert "goes on from here" in error.value.fix
    assert not (tmp_path / "a.zip").exists()
    server.forget()
    fetch(server.url("a.zip"), tmp_path / "a.zip", len(CONTENT), SHA256)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert ranges(server) == ["bytes=4000-"]
    assert server.sent == len(CONTENT) - 4000


def test_breaks_that_bring_something_are_not_counted(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WORTH", 100)
    server.faults.extend([*[Fault(drop=0)] * (len(PAUSES) - 1), Fault(drop=100)] * 20)
    fetch(server.url("a.zip"), tmp_path / "a.zip", len(CONTENT), SHA256)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_a_server_that_forever_begins_anew_is_given_up(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WORTH", 100)
    server.faults.extend([Fault(drop=5000, whole=True)] * 50)
    with pytest.raises(MendableError, match="broke off"):
        fetch(server.url("a.zip"), tmp_path / "a.zip", len(CONTENT), SHA256)
    assert len(server.asked) == 1 + len(PAUSES)


def test_a_server_without_ranges_sends_it_all_again(server: Server, tmp_path: Path) -> None:
    server.faults.extend([Fault(drop=1000), Fault(whole=True)])
    fetch(server.url("a.zip"), tmp_path / "a.zip", len(CONTENT), SHA256)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert server.sent == len(CONTENT) + 1000


@pytest.mark.parametrize("version", ["", 'W/"weak"'])
def test_pieces_without_version_are_put_together_only_where_a_checksum_proves_them(
    server: Server, tmp_path: Path, version: str
) -> None:
    for checksum, second in ((SHA256, "bytes=1000-"), ("", "")):
        server.forget()
        server.faults.append(Fault(drop=1000, headers=(("ETag", version),)))
        path = tmp_path / (checksum[:3] or "none")
        fetch(server.url("a.zip"), path, len(CONTENT), checksum)
        assert ranges(server) == ["", second]
        assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_another_version_between_two_calls_is_fetched_from_its_start(
    server: Server, tmp_path: Path, size: int | None
) -> None:
    newer = bytes(reversed(CONTENT))
    server.faults.extend([Fault(drop=4000)] + [Fault(drop=0)] * len(PAUSES))
    with pytest.raises(MendableError):
        fetch(server.url("a.zip"), tmp_path / "a.zip", size)
    server.forget()
    server.files["a.zip"] = newer
    fetch(server.url("a.zip"), tmp_path / "a.zip", size)
    assert (tmp_path / "a.zip").read_bytes() == newer


def test_a_server_that_overlooks_if_range_is_found_out_by_its_etag(server: Server, tmp_path: Path) -> None:
    newer = bytes(reversed(CONTENT))
    server.faults.extend([Fault(drop=4000)] + [Fault(drop=0)] * len(PAUSES))
    with pytest.raises(MendableError):
        fetch(server.url("a.zip"), tmp_path / "a.zip")
    server.forget()
    server.files["a.zip"] = newer
    server.faults.append(Fault(unconditional=True))
    fetch(server.url("a.zip"), tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == newer
    assert ranges(server) == ["bytes=4000-", ""]


@pytest.mark.parametrize("shift", [-7, 7])
def test_a_piece_from_elsewhere_in_the_file_is_not_taken(server: Server, tmp_path: Path, shift: int) -> None:
    server.faults.extend([Fault(drop=1000), Fault(shift=shift)])
    fetch(server.url("a.zip"), tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_what_was_complete_but_not_renamed_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(CONTENT)
    note = {"url": server.url("a.zip"), "version": f'"{hashlib.sha1(CONTENT).hexdigest()}"'}
    (tmp_path / "a.zip.part.of").write_text(json.dumps(note))
    assert fetch(server.url("a.zip"), tmp_path / "a.zip") == SHA256  # without size: the server answers 416
    assert (ranges(server), server.sent) == ([f"bytes={len(CONTENT)}-"], 0)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
    (tmp_path / "a.zip").rename(tmp_path / "a.zip.part")
    (tmp_path / "a.zip.part.of").write_text(json.dumps(note))
    server.forget()
    assert fetch(server.url("a.zip"), tmp_path / "a.zip", len(CONTENT), SHA256) == SHA256
    assert server.asked == []


@pytest.mark.parametrize("note", ["", "{", "[]", '{"url": "http://elsewhere/a.zip", "version": ""}'])
def test_a_part_of_nobody_knows_what_is_not_used(server: Server, tmp_path: Path, note: str) -> None:
    (tmp_path / "a.zip.part").write_bytes(b"of something else")
    (tmp_path / "a.zip.part.of").write_text(note)
    fetch(server.url("a.zip"), tmp_path / "a.zip", len(CONTENT), SHA256)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert ranges(server) == [""]


def test_a_part_that_another_program_left_is_not_touched(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.zip.part").write_bytes(b"a browser's")
    with pytest.raises(MendableError, match=r"a\.zip\.part") as error:
        fetch(server.url("a.zip"), tmp_path / "a.zip", len(CONTENT), SHA256)
    assert error.value.where == str(tmp_path / "a.zip.part") and server.asked == []
    assert (tmp_path / "a.zip.part").read_bytes() == b"a browser's"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 416, 501])
def test_a_refusal_ends_it_at_once(server: Server, tmp_path: Path, pauses: list, status: int) -> None:
    server.faults.extend([Fault(status=status)] * 9)
    with pytest.raises(MendableError, match=f"answers {status}") as error:
        fetch(server.url("a.zip"), tmp_path / "a.zip", len(CONTENT), SHA256, "https://example.org/set")
    assert "https://example.org/set" in error.value.fix
    assert (len(server.asked), pauses, list(tmp_path.iterdir())) == (1, [], [])


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_fault_is_waited_for(server: Server, tmp_path: Path, pauses: list, status: int) -> None:
    server.faults.extend([Fault(status=status, headers=(("Retry-After", "33"),)), Fault(status=status)])
    fetch(server.url("a.zip"), tmp_path / "a.zip", len(CONTENT), SHA256)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert (pauses[0], len(pauses)) == (33, 2)


def test_nobody_answering_is_an_error_of_the_address(tmp_path: Path, pauses: list) -> None:
    with pytest.raises(MendableError, match="ConnectionError") as error:
        fetch("http://127.0.0.1:9/a.zip", tmp_path / "a.zip", 1, SHA256)
    assert error.value.where == "http://127.0.0.1:9/a.zip"
    assert len(pauses) == len(PAUSES) - 1
    assert remote_size("http://127.0.0.1:9/a.zip") is None


def test_wrong_bytes_are_removed_and_said(server: Server, tmp_path: Path) -> None:
    server.faults.append(Fault(content=bytes(len(CONTENT))))
    with pytest.raises(MendableError, match="not the published file") as error:
        fetch(server.url("a.zip"), tmp_path / "a.zip", len(CONTENT), SHA256)
    assert SHA256 in str(error.value)
    assert list(tmp_path.iterdir()) == []
    fetch(server.url("a.zip"), tmp_path / "a.zip", len(CONTENT), SHA256)


def test_pieces_that_do_not_fit_together_are_fetched_once_more(server: Server, tmp_path: Path) -> None:
    server.faults.append(Fault(content=bytes(len(CONTENT)), drop=3000))
    fetch(server.url("a.zip"), tmp_path / "a.zip", len(CONTENT), SHA256)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert ranges(server) == ["", "bytes=3000-", ""]


def test_a_file_of_another_length_is_refused_before_it_is_fetched(server: Server, tmp_path: Path) -> None:
    with pytest.raises(MendableError, match=r"10,240 bytes, the published one 13,510,573,713"):
        fetch(server.url("a.zip"), tmp_path / "a.zip", 13510573713, SHA256)
    assert list(tmp_path.iterdir()) == []


def test_more_bytes_than_the_file_has_are_not_taken(server: Server, tmp_path: Path) -> None:
    server.faults.extend([Fault(surplus=9)] * 20)
    with pytest.raises(MendableError, match="more than the file's 10,240 bytes"):
        fetch(server.url("a.zip"), tmp_path / "a.zip", len(CONTENT))
    assert not (tmp_path / "a.zip").exists()


def test_a_file_that_nothing_says_is_whole_is_not_taken(server: Server, tmp_path: Path) -> None:
    without = Fault(headers=(("Content-Length", ""),))
    server.faults.extend([without, without, replace(without, drop=5000)])
    with pytest.raises(MendableError, match="neither length nor checksum"):
        fetch(server.url("a.zip"), tmp_path / "a.zip")
    assert list(tmp_path.iterdir()) == []
    fetch(server.url("a.zip"), tmp_path / "a.zip", checksum=SHA256)
    fetch(server.url("a.zip"), tmp_path / "b.zip", len(CONTENT))
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes() == CONTENT


def test_redirects_are_followed_with_the_range(server: Server, tmp_path: Path) -> None:
    server.files["moved.zip"] = b""
    to = (("Location", server.url("a.zip")),)
    server.faults.extend([Fault(status=302, headers=to), Fault(drop=10), Fault(status=307, headers=to), Fault()])
    fetch(server.url("moved.zip"), tmp_path / "a.zip", len(CONTENT), SHA256)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert [(name, asked) for _, name, asked in server.asked] == [
        ("moved.zip", ""),
        ("a.zip", ""),
        ("moved.zip", "bytes=10-"),
        ("a.zip", "bytes=10-"),
    ]


def test_bytes_are_kept_as_the_server_stores_them(server: Server, tmp_path: Path) -> None:
    server.faults.append(Fault(headers=(("Content-Encoding", "x-gzip"),)))  # what Apache says of a .tgz
    fetch(server.url("a.zip"), tmp_path / "a.zip", len(CONTENT), SHA256)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_a_full_disk_is_said_before_anything_is_written(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=module.MARGIN + len(CONTENT) - 1))
    with pytest.raises(MendableError, match=r"the disk has 1\.0 GB left") as error:
        fetch(server.url("a.zip"), tmp_path / "a.zip")  # even where no size is published
    assert error.value.where == str(tmp_path)
    assert list(tmp_path.iterdir()) == []
    check_room(tmp_path / "not" / "there" / "yet", len(CONTENT) - 1)


def test_a_disk_that_fills_up_on_the_way_is_no_traceback(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "write_json", full)
    with pytest.raises(MendableError, match="No space left") as error:
        fetch(server.url("a.zip"), tmp_path / "a.zip", len(CONTENT), SHA256)
    assert error.value.where == str(tmp_path)


def test_the_server_is_asked_for_a_size(server: Server) -> None:
    assert remote_size(server.url("a.zip")) == len(CONTENT)
    assert remote_size(server.url("none.zip")) is None


FAULTS = st.one_of(
    st.just(Fault()),
    st.builds(Fault, drop=st.integers(0, len(CONTENT))),
    st.builds(Fault, drop=st.none() | st.integers(0, len(CONTENT)), whole=st.just(True)),
    st.builds(Fault, status=st.sampled_from([302, 404, 429, 500, 503, 416, 204, 304])),
    st.builds(
        Fault, content=st.binary(max_size=300) | st.just(bytes(len(CONTENT))), drop=st.none() | st.integers(0, 300)
    ),
    st.builds(Fault, shift=st.integers(-50, 50)),
    st.builds(Fault, surplus=st.integers(1, 9), drop=st.none() | st.integers(0, 300)),
    st.builds(
        Fault,
        drop=st.none() | st.integers(0, len(CONTENT)),
        headers=st.lists(
            st.tuples(
                st.sampled_from(
                    ["ETag", "Last-Modified", "Content-Range", "Retry-After", "Content-Encoding", "Content-Length"]
                ),
                st.sampled_from(
                    ["", '"x"', 'W/"x"', "bytes 0-1/2", "bytes */*", "-1", "gzip", "Wed, 21 Oct 2015 07:28:00 GMT"]
                ),
            ),
            max_size=2,
        ).map(tuple),
    ),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(FAULTS, max_size=12), st.sampled_from([len(CONTENT), None]), st.sampled_from([SHA256, MD5]))
def test_whatever_the_server_does_the_file_is_whole_or_absent(
    running: Server, tmp_path_factory: pytest.TempPathFactory, faults: list[Fault], size: int | None, checksum: str
) -> None:
    folder = tmp_path_factory.mktemp("any")
    running.forget()
    running.files = {"a.zip": CONTENT}
    running.faults.extend(faults)
    try:
        fetch(running.url("a.zip"), folder / "a.zip", size, checksum)
        assert (folder / "a.zip").read_bytes() == CONTENT
    except MendableError:
        assert not (folder / "a.zip").exists()
    running.forget()
    (folder / "a.zip").unlink(missing_ok=True)
    part = folder / "a.zip.part"
    good = part.exists() and CONTENT.startswith(part.read_bytes())
    fetch(running.url("a.zip"), folder / "a.zip", size, checksum)
    assert (folder / "a.zip").read_bytes() == CONTENT
    assert sorted(path.name for path in folder.iterdir()) == ["a.zip"]
    assert running.sent <= len(CONTENT) or not good


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 3000), min_size=6, max_size=6), st.booleans())
def test_after_breaks_alone_no_byte_is_sent_twice(
    running: Server, tmp_path_factory: pytest.TempPathFactory, drops: list[int], published: bool
) -> None:
    folder = tmp_path_factory.mktemp("drops")
    running.forget()
    running.files = {"a.zip": CONTENT}
    running.faults.extend(Fault(drop=drop) for drop in drops)
    for _ in range(2):
        try:
            fetch(running.url("a.zip"), folder / "a.zip", None, SHA256 if published else "")
            break
        except MendableError:
            continue
    assert (folder / "a.zip").read_bytes() == CONTENT
    assert running.sent == len(CONTENT)
