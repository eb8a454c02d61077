"""A server on this machine that sends files as RFC 9110 says, or with whatever fault the next request is to meet."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote


@dataclass(frozen=True)
class Fault:
    """What one request meets; the empty fault is none."""

    status: int = 0
    """Answered without a file."""
    headers: tuple[tuple[str, str], ...] = ()
    """Sent beside; a header of the server's own is replaced, and left out where the value is empty."""
    drop: int | None = None
    """The connection is cut after so many bytes of the body."""
    whole: bool = False
    """A Range is answered with 200 and everything."""
    unconditional: bool = False
    """If-Range is overlooked."""
    shift: int = 0
    """A Range is answered with a piece that starts so much later than asked for."""
    content: bytes | None = None
    """Another file, under the same ETag."""
    surplus: int = 0
    """So many bytes more than the file has, sent in chunks."""


@dataclass
class Server:
    """The files by name, the faults of the next requests, and what was asked and sent."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    faults: deque[Fault] = field(default_factory=deque)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """(method, name, Range or an empty text) of each request."""
    headers: list[dict[str, str]] = field(default_factory=list)
    """Of each request."""
    sent: int = 0
    """Bytes of bodies that went out."""

    def url(self, name: str) -> str:
        return f"{self.address}/{quote(name)}"

    def forget(self) -> None:
        """The faults and the log; the files stay."""
        self.faults.clear()
        self.asked.clear()
        self.headers.clear()
        self.sent = 0


@contextmanager
def serve() -> Iterator[Server]:
    """The server runs inside."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None: ...

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            name, asked = unquote(self.path.lstrip("/")), self.headers.get("Range", "")
            state.asked.append((self.command, name, asked))
            state.headers.append(dict(self.headers))
            fault = state.faults.popleft() if state.faults and body else Fault()
            if fault.status or name not in state.files:
                return self._send(fault.status or 404, {"Content-Length": "0"}, fault, b"")
            own = state.files[name]
            tag = f'"{hashlib.sha1(own).hexdigest()}"'
            content = own if fault.content is None else fault.content
            start, status, headers = 0, 200, {"ETag": tag, "Accept-Ranges": "bytes"}
            match = re.fullmatch(r"bytes=(\d+)-", asked)
            valid = fault.unconditional or self.headers.get("If-Range", tag) in (tag, dict(fault.headers).get("ETag"))
            if match and not fault.whole and valid:
                start, status = int(match[1]) + fault.shift, 206
                if start >= len(content):
                    headers |= {"Content-Range": f"bytes */{len(content)}", "Content-Length": "0"}
                    return self._send(416, headers, fault, b"")
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            rest = content[start:]
            if fault.surplus:
                rest += b"x" * fault.surplus
                headers["Transfer-Encoding"] = "chunked"
            else:
                headers["Content-Length"] = str(len(rest))
            return self._send(status, headers, fault, rest if body else b"")

        def _send(self, status: int, headers: dict[str, str], fault: Fault, rest: bytes) -> None:
            self.send_response(status)
            for key, value in (headers | dict(fault.headers)).items():
                if value:
                    self.send_header(key, value)
            self.end_headers()
            now = rest if fault.drop is None else rest[: fault.drop]
            state.sent += len(now)  # before the client can have it all
            try:
                if "Transfer-Encoding" in headers and rest:
                    self.wfile.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(now), now))
                else:
                    self.wfile.write(now)
                self.wfile.flush()
            except OSError:
                self.close_connection = True
            if len(now) < len(rest) or "Content-Length" in dict(fault.headers):
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that hangs up is no fault of the test."""

    server = Quiet(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
