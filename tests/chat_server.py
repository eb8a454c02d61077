"""An OpenAI-compatible endpoint on this machine: answers, or meets the next request with whatever fault it is told."""

from __future__ import annotations

import base64
import io
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image


@dataclass(frozen=True)
class Fault:
    """What one request meets; the empty fault is none."""

    status: int = 0
    message: str = ""
    """In OpenAI's form of an error."""
    headers: tuple[tuple[str, str], ...] = ()
    drop: bool = False
    """The connection is cut before anything is answered."""
    body: str | None = None
    """Answered in place of a completion."""


@dataclass
class ChatServer:
    """What it answers, and what it was asked."""

    url: str = ""
    models: list[dict[str, Any]] | None = field(default_factory=lambda: [{"id": "small", "created": time.time_ns()}])
    """None: it does not list them."""
    reply: Callable[[dict[str, Any]], str] = lambda body: f" {question(body)}! "
    fault: Callable[[dict[str, Any]], Fault] = lambda body: Fault()
    """Of a request by its body, where no fault is waiting."""
    faults: deque[Fault] = field(default_factory=deque)
    """Of the next chat requests."""
    list_faults: deque[Fault] = field(default_factory=deque)
    """Of the next requests for the list of models."""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    """Of every chat request that was answered with a completion."""
    keys: list[str | None] = field(default_factory=list)
    """The Authorization header of every request."""
    tries: int = 0
    at_once: int = 0
    most_at_once: int = 0


def question(body: dict[str, Any]) -> str:
    """The text of the last message."""
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def pictures(body: dict[str, Any]) -> list[Image.Image]:
    """The pictures of all messages, decoded."""
    urls = [
        part["image_url"]["url"]
        for message in body["messages"]
        if isinstance(message["content"], list)
        for part in message["content"]
        if part["type"] == "image_url"
    ]
    head = "data:image/png;base64,"
    assert all(url.startswith(head) for url in urls)
    return [Image.open(io.BytesIO(base64.b64decode(url.removeprefix(head), validate=True))) for url in urls]


@contextmanager
def chat_server() -> Iterator[ChatServer]:
    """Serves at ``url`` until the block is left."""
    state, lock = ChatServer(), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            state.keys.append(self.headers.get("Authorization"))
            fault = state.list_faults.popleft() if state.list_faults else Fault()
            if fault.status or fault.drop:
                return self._fail(fault)
            if state.models is None or self.path != "/v1/models":
                return self._fail(Fault(404, "Not Found"))
            return self._send(200, json.dumps({"object": "list", "data": state.models}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                state.keys.append(self.headers.get("Authorization"))
                state.tries += 1
                fault = state.faults.popleft() if state.faults else state.fault(body)
                state.at_once += 1
                state.most_at_once = max(state.most_at_once, state.at_once)
            try:
                if fault.status or fault.drop:
                    return self._fail(fault)
                if self.path != "/v1/chat/completions":
                    return self._fail(Fault(404, f"no such address: {self.path}"))
                answer = {"role": "assistant", "content": state.reply(body)}
                with lock:
                    state.bodies.append(body)
            finally:
                with lock:
                    state.at_once -= 1
            whole = json.dumps({"choices": [{"index": 0, "message": answer, "finish_reason": "stop"}]})
            return self._send(200, whole if fault.body is None else fault.body)

        def _fail(self, fault: Fault) -> None:
            if fault.drop:
                self.close_connection = True
                return self.connection.shutdown(socket.SHUT_RDWR)
            return self._send(fault.status, json.dumps({"error": {"message": fault.message}}), fault.headers)

        def _send(self, status: int, text: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
            content = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            for key, value in headers:
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(content)

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that hangs up is no fault of the test."""

    server = Quiet(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
