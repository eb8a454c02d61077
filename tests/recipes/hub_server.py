"""A small hub on this machine: repos, branches, commits and git LFS, as huggingface_hub's client asks for them.

Routes as in huggingface_hub 2.4 (src/huggingface_hub/hf_api.py, _commit_api.py, lfs.py): validate-yaml, repos/create,
models/ID (its revision, refs, tree, branch, preupload, commit), ID.git/info/lfs/objects/batch, the uploads it names,
and ID/resolve/REVISION/PATH.  The test sets the faults, and looks at what was received.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_" + "TestTokenOfThisHub0123456789abcd"
LARGE = (".safetensors", ".model")
"""What goes by LFS, as the hub's own .gitattributes has it."""


@dataclass
class Repo:
    """Commits and branches; a commit is a mapping from path to content."""

    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """(commit, its files) of a branch or a commit."""
        name = self.branches.get(revision, revision)
        return (name, self.commits[name]) if name in self.commits else None

    def commit(self, branch: str, files: dict[str, bytes]) -> str:
        """A new head of the branch."""
        seed = f"{len(self.commits)} {sorted(files)}".encode() + b"".join(files[name] for name in sorted(files))
        name = hashlib.sha1(seed).hexdigest()
        self.commits[name] = files
        self.branches[branch] = name
        return name


@dataclass
class Hub:
    """What the hub holds, what it was asked, and what it does wrong."""

    address: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    stored: dict[str, bytes] = field(default_factory=dict)
    """LFS objects by SHA-256."""
    parts: dict[tuple[str, int], bytes] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    """(method, path) of each request."""
    uploaded: list[tuple[str, int]] = field(default_factory=list)
    """(SHA-256, bytes) of each upload that arrived whole; parts of one count each."""
    answers: list[tuple[str, str, int, str]] = field(default_factory=list)
    """(method, pattern of the path, status, message): such a request is refused."""
    drop: dict[str, int] = field(default_factory=dict)
    """SHA-256 → the upload's connection is cut after so many bytes; the key "*" is any."""
    part_bytes: int = 0
    """Above 0: larger objects are uploaded in parts of so many bytes."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def writes(self) -> list[tuple[str, str]]:
        """Requests that would change something, or send a file."""
        return [one for one in self.asked if one[0] in ("POST", "PUT", "DELETE") and "validate-yaml" not in one[1]]

    def add(self, repo: str, files: dict[str, bytes], private: bool = True, branch: str = "main") -> Repo:
        """A repo that is there already."""
        made = self.repos.setdefault(repo, Repo(private))
        made.commit(branch, dict(files))
        return made

    def files(self, repo: str, revision: str = "main") -> dict[str, bytes]:
        """The files of a repo at a branch, without the hub's own."""
        found = self.repos[repo].at(revision)
        assert found is not None
        return {name: content for name, content in found[1].items() if name != ".gitattributes"}


@contextmanager
def serve() -> Iterator[Hub]:
    """The hub runs inside."""
    hub = Hub()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is no fault of the test."""


class _Refused(Exception):
    """Ends a request with this status; the message goes to X-Error-Message, as the hub has it."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        self.status, self.message, self.code = status, message, code


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        with self.hub.lock:
            self.hub.asked.append((self.command, unquote(path)))
        try:
            self._refuse(path)
            for method, pattern, work in _ROUTES:
                if self.command in method.split() and (match := re.fullmatch(pattern, path)):
                    return work(self, *(unquote(part) for part in match.groups()))
            raise _Refused(404, "no such route", "EntryNotFound")
        except _Refused as refused:
            self._rest()
            headers = {"X-Error-Message": refused.message, "X-Error-Code": refused.code}
            self.send(refused.status, json.dumps({"error": refused.message}).encode(), **headers)

    def _refuse(self, path: str) -> None:
        for method, pattern, status, message in self.hub.answers:
            if self.command == method and re.search(pattern, path):
                raise _Refused(status, message)
        free = path.startswith("/lfs/") or path == "/api/validate-yaml"  # addresses that are signed, or need no name
        given = self.headers.get("Authorization")
        if given is not None and given != f"Bearer {TOKEN}":
            raise _Refused(401, "Invalid credentials in Authorization header")
        match = re.match(r"/(?:api/models/)?([^/]+/[^/]+?)(?:\.git)?/", path + "/")
        repo = self.hub.repos.get(match[1]) if match else None
        if given is None and not free and (repo is None or repo.private):
            raise _Refused(401, "Invalid username or password.", "RepoNotFound" if repo is None else "")

    def repo(self, name: str) -> Repo:
        if name not in self.hub.repos:
            raise _Refused(404, "Repository not found", "RepoNotFound")
        return self.hub.repos[name]

    def at(self, name: str, revision: str) -> tuple[str, dict[str, bytes]]:
        found = self.repo(name).at(revision)
        if found is None:
            raise _Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return found

    def body(self) -> bytes:
        """The request's body; some come in chunks."""
        self.read = True
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            pieces = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _rest(self) -> None:
        """A body that nobody wanted is read all the same, so that the connection can go on."""
        if not getattr(self, "read", False):
            self.body()

    def json(self, value: Any, status: int = 200) -> None:
        self.send(status, json.dumps(value).encode(), **{"Content-Type": "application/json"})

    def send(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        self.read = False

    def cut(self) -> None:
        """The connection ends without an answer."""
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def _validate(handler: _Handler) -> None:
    content = json.loads(handler.body())["content"]
    found = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
    about = yaml.safe_load(found[1]) if found else None
    errors = [] if isinstance(about, dict) and about.get("license") else [{"message": "license is missing"}]
    handler.json({"errors": errors, "warnings": []}, 400 if errors else 200)


def _create(handler: _Handler) -> None:
    asked = json.loads(handler.body())
    name = f"{asked.get('organization') or 'me'}/{asked['name']}"
    with handler.hub.lock:
        if name in handler.hub.repos:
            return handler.json(
                {"error": "You already created this model repo", "url": f"{handler.hub.address}/{name}"}, 409
            )
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        handler.hub.add(name, {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"}, private)
    return handler.json({"url": f"{handler.hub.address}/{name}", "id": name, "name": name})


def _info(handler: _Handler, name: str, revision: str = "main") -> None:
    commit, files = handler.at(name, revision)
    siblings = [{"rfilename": path} for path in sorted(files)]
    private = handler.repo(name).private
    handler.json({"_id": "1", "id": name, "modelId": name, "sha": commit, "private": private, "siblings": siblings})


def _refs(handler: _Handler, name: str) -> None:
    branches = handler.repo(name).branches
    refs = [{"name": one, "ref": f"refs/heads/{one}", "targetCommit": to} for one, to in branches.items()]
    handler.json({"branches": refs, "converts": [], "tags": [], "pullRequests": []})


def _branch(handler: _Handler, name: str, branch: str) -> None:
    asked, repo = json.loads(handler.body() or b"{}"), handler.repo(name)
    if branch in repo.branches:
        raise _Refused(409, "Reference already exists")
    repo.branches[branch] = handler.at(name, asked.get("startingPoint") or "main")[0]
    handler.json({})


def _tree(handler: _Handler, name: str, revision: str) -> None:
    _, files = handler.at(name, revision)
    entries = []
    for path, content in sorted(files.items()):
        blob = content if not path.endswith(LARGE) else _pointer(content)
        entry = {"type": "file", "path": path, "size": len(content), "oid": _git(blob)}
        if path.endswith(LARGE):
            oid = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": oid, "size": len(content), "pointerSize": len(blob)}
        entries.append(entry)
    handler.json(entries)


def _preupload(handler: _Handler, name: str, revision: str) -> None:
    asked, (_, files) = json.loads(handler.body()), handler.at(name, revision)
    told = []
    for file in asked["files"]:
        path = file["path"]
        one = {"path": path, "uploadMode": "lfs" if path.endswith(LARGE) else "regular", "shouldIgnore": False}
        if path in files:
            large = path.endswith(LARGE)
            one["oid"] = hashlib.sha256(files[path]).hexdigest() if large else _git(files[path])
        told.append(one)
    handler.json({"files": told})


def _batch(handler: _Handler, name: str) -> None:
    handler.repo(name)
    hub, objects = handler.hub, []
    for one in json.loads(handler.body())["objects"]:
        oid, size = one["oid"], one["size"]
        if oid in hub.stored:
            objects.append({"oid": oid, "size": size})
            continue
        upload: dict[str, Any] = {"href": f"{hub.address}/lfs/{oid}"}
        if 0 < hub.part_bytes < size:
            count = -(-size // hub.part_bytes)
            header = {str(n): f"{hub.address}/lfs/{oid}/{n}" for n in range(1, count + 1)}
            upload = {
                "href": f"{hub.address}/lfs/{oid}/complete",
                "header": {"chunk_size": str(hub.part_bytes), **header},
            }
        verify = {"href": f"{hub.address}/{name}.git/info/lfs/verify"}
        objects.append({"oid": oid, "size": size, "actions": {"upload": upload, "verify": verify}})
    handler.json({"transfer": "basic", "objects": objects})


def _take(handler: _Handler, oid: str, number: str = "") -> None:
    hub = handler.hub
    cut = hub.drop.get(oid, hub.drop.get("*"))
    if cut is not None:
        handler.rfile.read(min(cut, int(handler.headers.get("Content-Length", 0))))
        return handler.cut()
    content = handler.body()
    with hub.lock:
        hub.uploaded.append((oid, len(content)))
        if number:
            hub.parts[oid, int(number)] = content
        else:
            _store(hub, oid, content)
    return handler.send(200, b"", ETag=f'"{hashlib.md5(content).hexdigest()}"')


def _complete(handler: _Handler, oid: str) -> None:
    told, hub = json.loads(handler.body()), handler.hub
    with hub.lock:
        pieces = [hub.parts.pop((oid, part["partNumber"])) for part in told["parts"]]
        _store(hub, oid, b"".join(pieces))
    handler.json({})


def _store(hub: Hub, oid: str, content: bytes) -> None:
    if hashlib.sha256(content).hexdigest() != oid:
        raise _Refused(422, "the content is not what its name says")
    hub.stored[oid] = content


def _verify(handler: _Handler, _name: str) -> None:
    told = json.loads(handler.body())
    if told["oid"] not in handler.hub.stored:
        raise _Refused(404, "no such object")
    handler.json({})


def _commit(handler: _Handler, name: str, branch: str) -> None:
    hub, repo = handler.hub, handler.repo(name)
    if branch not in repo.branches:
        raise _Refused(404, f"Invalid rev id: {branch}", "RevisionNotFound")
    files = dict(handler.at(name, branch)[1])
    for line in handler.body().splitlines():
        entry = json.loads(line)
        value = entry["value"]
        if entry["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif entry["key"] == "lfsFile":
            if value["oid"] not in hub.stored:
                raise _Refused(400, f"{value['path']}: its object was not uploaded")
            files[value["path"]] = hub.stored[value["oid"]]
        elif entry["key"] == "deletedFile":
            del files[value["path"]]
    with hub.lock:
        commit = repo.commit(branch, files)
    handler.json({"commitUrl": f"{hub.address}/{name}/commit/{commit}", "commitOid": commit, "success": True})


def _resolve(handler: _Handler, name: str, revision: str, path: str) -> None:
    commit, files = handler.at(name, revision)
    if path not in files:
        raise _Refused(404, "Entry not found", "EntryNotFound")
    content = files[path]
    tag = hashlib.sha256(content).hexdigest() if path.endswith(LARGE) else _git(content)
    headers = {"ETag": f'"{tag}"', "X-Repo-Commit": commit, "Content-Type": "application/octet-stream"}
    if path.endswith(LARGE):
        headers |= {"X-Linked-Etag": f'"{tag}"', "X-Linked-Size": str(len(content))}
    handler.send(200, content, **{"Content-Length": str(len(content))}, **headers)


def _git(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _pointer(content: bytes) -> bytes:
    oid = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n".encode()


_NAME = r"([^/]+/[^/]+)"
_ROUTES: list[tuple[str, str, Callable[..., None]]] = [
    ("POST", "/api/validate-yaml", _validate),
    ("POST", "/api/repos/create", _create),
    ("GET", rf"/api/models/{_NAME}", _info),
    ("GET", rf"/api/models/{_NAME}/revision/([^/]+)", _info),
    ("GET", rf"/api/models/{_NAME}/refs", _refs),
    ("GET", rf"/api/models/{_NAME}/tree/([^/]+)", _tree),
    ("POST", rf"/api/models/{_NAME}/branch/([^/]+)", _branch),
    ("POST", rf"/api/models/{_NAME}/preupload/([^/]+)", _preupload),
    ("POST", rf"/api/models/{_NAME}/commit/([^/]+)", _commit),
    ("POST", rf"/{_NAME}\.git/info/lfs/objects/batch", _batch),
    ("POST", rf"/{_NAME}\.git/info/lfs/verify", _verify),
    ("PUT", r"/lfs/(\w+)", _take),
    ("POST", r"/lfs/(\w+)/complete", _complete),
    ("PUT", r"/lfs/(\w+)/(\d+)", _take),
    ("GET HEAD", rf"/{_NAME}/resolve/([^/]+)/(.+)", _resolve),
]
