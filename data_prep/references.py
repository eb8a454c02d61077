"""Pictures as a user's rows name them: a file in the pictures' folder, the file itself in base64, or a URL."""

from __future__ import annotations

import base64
import re
import socket
import time
from collections.abc import Iterator
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from urllib.request import HTTPHandler, HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from data_prep.confined import Pictures
from data_prep.rows import RowError

SECONDS = 30.0
"""A URL that has not given its picture by then is given up."""
MAX_BYTES = 50_000_000
"""Longer answers of a URL are given up."""

# How base64 text begins of a JPEG, PNG, GIF and WebP; no file's name of 40 signs and more is of these signs alone
_BASE64 = re.compile(r"(?=.{40})(?:/9j/|iVBORw0KGgo|R0lGOD|UklGR)[A-Za-z0-9+/\s]++={0,2}\s*", re.DOTALL)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


class References:
    """A row's picture by what the row calls it: a path under ``folder``, the encoded file, or the answer of a URL.

    Paths, ``file://`` ones too, never lead out of the folder (see `Pictures`).  URLs are refused unless ``urls`` is
    set; then each is fetched when its row is read (see `fetch`).
    """

    def __init__(self, folder: Path, urls: bool = False) -> None:
        self._files, self._urls = Pictures(folder.absolute(), "the key `pictures` names their folder"), urls

    def __call__(self, name: str, where: str) -> Path | bytes:
        """The picture's path or its encoded bytes, not yet opened; raises RowError, naming ``where``, for neither."""
        if name.startswith("data:"):
            return _of_data_uri(name, where)
        if _BASE64.fullmatch(name):
            return of_base64(name, where)
        scheme = match[1].lower() if (match := _SCHEME.match(name)) else ""
        if scheme == "file":
            return self._files(unquote(name[len("file://") :].removeprefix("localhost")), where)
        if not scheme:
            return self._files(name, where)
        if scheme not in ("http", "https"):
            raise RowError("picture by URL", f"{name:.200} is neither a file nor http(s)", where)
        if not self._urls:
            what = f"the picture is at {name:.200}: fetch it beforehand, or set `urls` to have it fetched"
            raise RowError("picture by URL", what, where)
        return fetch(name, where)


def fetch(url: str, where: str) -> bytes:
    """What the http(s) URL answers: at most `MAX_BYTES`, within `SECONDS`, redirected to nothing but http(s).

    Raises RowError, naming ``where``, for any failure; nothing is tried twice.  Who sets `urls` trusts the rows' URLs,
    so picture servers of one's own network and machine may be named.  Addresses of the clouds' metadata services may
    not, in whatever form, and a server on the internet may not redirect to one that is not.
    """
    until, answer = time.monotonic() + SECONDS, bytearray()
    try:
        request = Request(quote(url, safe="%/:=&?~#+!$,;'@()*[]"), headers={"User-Agent": "mlplora_vlm data_prep"})
        guard = _Guard()
        _check_host(request.host)
        opener = build_opener(_Http(guard), _Https(guard), _Redirects())
        with opener.open(request, timeout=SECONDS) as stream:
            length = stream.headers.get("Content-Length", "")
            while chunk := stream.read1(1 << 16):  # whatever has arrived: a full read waits on a slow server for ever
                answer += chunk
                if len(answer) > MAX_BYTES:
                    raise OSError(f"more than {MAX_BYTES:,} bytes")
                if time.monotonic() > until:
                    raise OSError(f"not there within {SECONDS:.0f} s")
        if length.isdecimal() and len(answer) != int(length):
            raise OSError(f"broke off after {len(answer):,} of {int(length):,} bytes")
    except (OSError, HTTPException, ValueError) as error:
        raise RowError("picture by URL", f"{url:.200} gives no picture: {error!s:.200}", where) from error
    return bytes(answer)


def _of_data_uri(name: str, where: str) -> bytes:
    kind, _, body = name.partition(",")
    if not kind.endswith(";base64"):
        raise RowError("unreadable picture", f"{name[:40]!r} … is no data: URI in base64", where)
    return of_base64(unquote(body), where)


def of_base64(text: str, where: str) -> bytes:
    """What the text encodes, spaces and line breaks aside; raises RowError, naming ``where``, where it is no base64."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:
        raise RowError("unreadable picture", f"{text[:40]!r} … is not base64 ({error})", where) from error


METADATA = (
    ip_network("169.254.0.0/16"),  # link-local: AWS, Google, Azure and others
    ip_network("fe80::/10"),
    ip_network("100.100.100.200/32"),  # Alibaba
    ip_network("168.63.129.16/32"),  # Azure
    ip_network("192.0.0.192/32"),  # Oracle
    ip_network("fd00:ec2::/32"),  # AWS
    ip_network("fd20:ce::254/128"),  # Google
)
"""Where the clouds' metadata services listen, which hand out credentials."""
_NAT64 = ip_network("64:ff9b::/96")
_Address = IPv4Address | IPv6Address


class _Guard:
    """The addresses that one fetch may reach, redirects included."""

    def __init__(self) -> None:
        self._left_home = False

    def check(self, address: str) -> None:
        """Raise OSError for a metadata service, and for a private address after a public one."""
        public = all(form.is_global for form in _checked(address))
        if self._left_home and not public:
            raise OSError(f"a public server redirects to a private address ({address})")
        self._left_home = self._left_home or public

    def connect(self, address: tuple[str, int], timeout: float, source: tuple[str, int] | None) -> socket.socket:
        """Connect, and look at the address that was reached, whatever the name was; before any TLS handshake."""
        connection = socket.create_connection(address, timeout, source)
        try:
            self.check(connection.getpeername()[0])
        except OSError:
            connection.close()
            raise
        return connection


def _check_host(host: str) -> None:
    """Raise OSError for a metadata service that is written as a number: behind a proxy its address is never seen."""
    name = urlsplit(f"//{host}").hostname or ""
    try:
        found = socket.getaddrinfo(name, None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return  # a name
    _checked(str(found[0][4][0]))


def _checked(address: str) -> list[_Address]:
    """The address in all its forms; raises OSError where one is a metadata service's."""
    found = list(_forms(ip_address(address.partition("%")[0])))
    if any(form in network for form in found for network in METADATA):
        raise OSError(f"a link-local address or metadata service ({address})")
    return found


def _forms(address: _Address) -> Iterator[_Address]:
    """The address, and the IPv4 address that is written in it."""
    yield address
    if isinstance(address, IPv6Address):
        within = (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())[1:])
        yield from filter(None, within)
        if address in _NAT64 or not int(address) >> 32:  # the latter: IPv4-compatible
            yield IPv4Address(int(address) & 0xFFFFFFFF)


class _Http(HTTPHandler):
    def __init__(self, guard: _Guard) -> None:
        super().__init__()
        self._guard = guard

    def http_open(self, req: Request) -> Any:
        return self.do_open(partial(_guarded, HTTPConnection, self._guard), req)


class _Https(HTTPSHandler):
    def __init__(self, guard: _Guard) -> None:
        super().__init__()
        self._guard = guard

    def https_open(self, req: Request) -> Any:
        return self.do_open(partial(_guarded, HTTPSConnection, self._guard), req)


def _guarded(kind: type[HTTPConnection], guard: _Guard, host: str, **options: Any) -> HTTPConnection:
    """A connection of this kind that reaches nothing that the guard refuses."""
    connection = kind(host, **options)
    connection._create_connection = guard.connect  # type: ignore[attr-defined]
    return connection


class _Redirects(HTTPRedirectHandler):
    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        if urlsplit(newurl).scheme not in ("http", "https"):
            raise OSError(f"it redirects to {newurl:.100}")
        _check_host(urlsplit(newurl).netloc)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
