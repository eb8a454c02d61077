"""Pictures by name: paths stay in their folder, base64 is the file itself, and a URL is fetched only where allowed."""

from __future__ import annotations

import base64
import io
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from data_prep import references
from data_prep.references import References
from data_prep.rows import RowError


def encoded(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (3, 2), "red").save(file, kind)
    return file.getvalue()


PNG = encoded("png")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "in"
    inside.mkdir()
    for path in (inside / "a.png", inside / "é ?#.png", tmp_path / "out.png"):
        path.write_bytes(PNG)
    (inside / "link.png").symlink_to(tmp_path / "out.png")
    return inside


def refused(folder: Path, name: str, urls: bool = False) -> str:
    """The reason for which the name gives no picture."""
    with pytest.raises(RowError) as error:
        References(folder, urls)(name, "row 7")
    assert error.value.where == "row 7" and len(str(error.value)) < 1000
    return error.value.reason


def test_a_path_is_a_file_in_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = References(folder)
    assert picture("a.png", "") == picture(str(folder / "a.png"), "") == folder / "a.png"
    assert picture(f"file://{folder}/a.png", "") == picture(f"file://localhost{folder}/a.png", "") == folder / "a.png"
    assert picture(f"file://{folder}/%C3%A9%20%3F%23.png", "") == folder / "é ?#.png"
    monkeypatch.chdir(folder.parent)
    assert References(Path("in"))(str(folder / "a.png"), "") == folder / "a.png"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none.png", "missing picture"),
        ("", "missing picture"),
        ("\0", "missing picture"),
        ("\ud800.png", "missing picture"),
        ("a" * 5000, "missing picture"),
        ("../out.png", "picture outside its folder"),
        ("/etc/hostname", "picture outside its folder"),
        ("link.png", "picture outside its folder"),
        ("file:///etc/hostname", "picture outside its folder"),
        ("file:///%2e%2e/etc/hostname", "picture outside its folder"),
        ("file://elsewhere/a.png", "missing picture"),
        ("ftp://localhost/a.png", "picture by URL"),
        ("s3://bucket/a.png", "picture by URL"),
        ("http://localhost:1/a.png", "picture by URL"),
        ("data:image/png;base64,@@@@", "unreadable picture"),
        ("data:image/png;base64,AAAAA", "unreadable picture"),
        ("data:image/png,AAAA", "unreadable picture"),
        ("data:", "unreadable picture"),
        ("iVBORw0KGgo" + "A" * 50, "unreadable picture"),
    ],
)
def test_what_names_no_picture_says_why(folder: Path, name: str, reason: str) -> None:
    assert refused(folder, name) == reason


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp"])
def test_base64_is_the_file_itself_bare_or_framed(folder: Path, kind: str) -> None:
    file, picture = encoded(kind), References(folder)
    text = base64.b64encode(file).decode()
    assert picture(text, "") == picture(f"data:image/{kind};base64,{text}", "") == file
    assert picture(f"{text[:44]}\n{text[44:]}\n", "") == file  # in lines, as e-mail has it
    assert picture(f"data:;base64,{text.replace('+', '%2B')}", "") == file


def test_a_long_text_is_told_from_base64_in_no_time(folder: Path) -> None:
    begin = time.perf_counter()
    for middle in (" ", "A", "="):
        assert refused(folder, "iVBORw0KGgo" + middle * 1_000_000 + "!") in ("missing picture", "unreadable picture")
    assert time.perf_counter() - begin < 30


@given(
    st.text() | st.sampled_from(["data:", "file://", "/9j/", "iVBORw0KGgo"]).flatmap(lambda s: st.text().map(s.__add__))
)
def test_any_name_gives_a_picture_or_a_reason(name: str) -> None:
    try:
        assert isinstance(References(Path(__file__).parent)(name, ""), Path | bytes)
    except RowError as error:
        assert error.what


class Server(BaseHTTPRequestHandler):
    """Answers each path in its own way."""

    asked: list[str]
    elsewhere: str

    def do_GET(self) -> None:
        self.asked.append(self.path)
        name = self.path.split("?")[0].removeprefix("/")
        if name == "elsewhere":
            self.send_response(302)
            self.send_header("Location", self.elsewhere)
            self.end_headers()
        elif name.startswith("to-"):
            self.send_response(302)
            self.send_header(
                "Location", {"to-a": "/a.png", "to-file": "file:///etc/hostname"}.get(name, name[3:] + "://x/")
            )
            self.end_headers()
        elif name == "none.png":
            self.send_error(404)
        elif name == "endless.png":
            self.send_response(200)
            self.end_headers()
            while True:
                self.wfile.write(bytes(1 << 16))
        elif name == "slow.png":
            self.send_response(200)
            self.end_headers()
            for _ in range(100):
                self.wfile.write(b"a")
                time.sleep(0.05)
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(PNG) + 10 * (name == "broken.png")))
            self.end_headers()
            self.wfile.write(PNG)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    Server.asked = []
    running = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    running.daemon_threads, running.block_on_close = True, False
    running.handle_error = lambda *args: None  # that the reader hangs up is what is tested
    threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


def test_a_url_is_fetched_only_where_that_is_allowed(folder: Path, server: str) -> None:
    assert refused(folder, f"{server}/a.png") == "picture by URL" and not Server.asked
    assert References(folder, urls=True)(f"{server}/a.png", "") == PNG
    assert References(folder, urls=True)(f"{server}/to-a", "") == PNG
    assert References(folder, urls=True)(f"{server}/é %C3%A9?b=c d", "") == PNG
    assert Server.asked == ["/a.png", "/to-a", "/a.png", "/%C3%A9%20%C3%A9?b=c%20d"]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("none.png", "404"),
        ("broken.png", "broke off after"),
        ("to-file", "Redirection to url 'file:"),
        ("to-ftp", "redirects to ftp:"),
        ("endless.png", "more than 1,000,000 bytes"),
        ("slow.png", "not there within"),
    ],
)
def test_a_url_that_fails_rejects_its_row(
    folder: Path, server: str, path: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "SECONDS", 0.5)
    monkeypatch.setattr(references, "MAX_BYTES", 1_000_000)
    with pytest.raises(RowError, match=says) as error:
        References(folder, urls=True)(f"{server}/{path}", "row 7")
    assert (error.value.reason, error.value.where) == ("picture by URL", "row 7") and len(Server.asked) == 1


@pytest.mark.parametrize(
    "url", ["http://", "http://[", "http://:80/", "http://127.0.0.1:99999/", "https://\ud800/", "http://a b/"]
)
def test_a_url_that_is_none_rejects_its_row(folder: Path, url: str) -> None:
    assert refused(folder, url, urls=True) == "picture by URL"


class Reached:
    """A socket that is connected to this address, whatever was asked for; it must not be used."""

    def __init__(self, address: str) -> None:
        self.address, self.closed = address, False

    def getpeername(self) -> tuple[str, int]:
        return self.address, 80

    def close(self) -> None:
        self.closed = True


METADATA = ["169.254.169.254", "fe80::1%eth0", "::ffff:169.254.169.254", "::169.254.169.254", "64:ff9b::a9fe:a9fe"]
METADATA += ["2002:a9fe:a9fe::1", "100.100.100.200", "fd00:ec2::254", "fd20:ce::254", "168.63.129.16"]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("address", METADATA)
def test_metadata_services_are_never_asked(
    folder: Path, scheme: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = Reached(address)
    monkeypatch.setattr(socket, "create_connection", lambda *args: reached)
    with pytest.raises(RowError, match="link-local address or metadata service") as error:
        References(folder, urls=True)(f"{scheme}://pictures.example/a.png", "row 7")
    assert error.value.reason == "picture by URL" and reached.closed


NUMBERS = ["169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.16689662", "[::ffff:a9fe:a9fe]"]
NUMBERS += ["[fe80::1]", "[fd00:ec2::254]", "user:word@169.254.169.254:80", "100.100.100.200"]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", NUMBERS)
def test_metadata_services_are_known_by_any_number_before_anything_is_asked(
    folder: Path, server: str, scheme: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Server.elsewhere = f"{scheme}://{host}/latest"
    monkeypatch.setenv("https_proxy", server)  # which would look up the address itself
    for url in (f"{scheme}://{host}/a.png", f"{server}/elsewhere"):
        with pytest.raises(RowError, match="link-local address or metadata service"):
            References(folder, urls=True)(url, "row 7")
    assert Server.asked == ["/elsewhere"]


def test_a_public_server_may_not_lead_into_the_own_network(
    folder: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first server is called public; it and the next are the same one, on this machine."""
    reached, connect = list[str](), socket.create_connection

    class Public(socket.socket):
        def getpeername(self) -> tuple[str, int]:
            return "93.184.215.14", 80

    def create_connection(address: tuple[str, int], *options: Any) -> socket.socket:
        reached.append(address[0])
        if address[0] != "pictures.example":
            return connect(address, *options)
        plain = connect(("127.0.0.1", int(server.rpartition(":")[2])), *options)
        public = Public(fileno=plain.detach())
        public.settimeout(5)
        return public

    monkeypatch.setattr(socket, "create_connection", create_connection)
    assert References(folder, urls=True)("http://pictures.example/to-a", "") == PNG
    Server.elsewhere = f"{server}/a.png"
    assert References(folder, urls=True)(f"{server}/elsewhere", "") == PNG  # from one's own to one's own
    with pytest.raises(RowError, match="redirects to a private address"):
        References(folder, urls=True)("http://pictures.example/elsewhere", "")
    assert reached[-2:] == ["pictures.example", "127.0.0.1"] and Server.asked[-1] == "/elsewhere"
