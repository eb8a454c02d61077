"""Pictures as a user's rows name them: a file in the pictures' folder, the file itself in base64, or a URL."""

from __future__ import annotations

import base64
import re
import time
from http.client import HTTPConnection, HTTPException
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from urllib.request import HTTPHandler, HTTPRedirectHandler, Request, build_opener

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
    so picture servers of one's own network and machine may be named.  Link-local addresses may not: there the clouds'
    metadata services listen, which no row has to do with.
    """
    until, answer = time.monotonic() + SECONDS, bytearray()
    try:
        request = Request(quote(url, safe="%/:=&?~#+!$,;'@()*[]"), headers={"User-Agent": "mlplora_vlm data_prep"})
        with _OPENER.open(request, timeout=SECONDS) as stream:
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


class _Connection(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        peer = ip_address(self.sock.getpeername()[0].partition("%")[0])  # the one reached, whatever the name was
        if (getattr(peer, "ipv4_mapped", None) or peer).is_link_local:
            self.close()
            raise OSError("a link-local address")


class _Http(HTTPHandler):
    def http_open(self, req: Request) -> Any:
        return self.do_open(_Connection, req)


class _Redirects(HTTPRedirectHandler):
    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        if urlsplit(newurl).scheme not in ("http", "https"):
            raise OSError(f"it redirects to {newurl:.100}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_OPENER = build_opener(_Http, _Redirects)
