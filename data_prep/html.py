"""The page shell that all reports share: one self-contained file, everything from outside escaped."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

if TYPE_CHECKING:
    from PIL.Image import Image

ROOM = Path(__file__).parent
LOSSLESS_SIDE = 128  # pixels; smaller pictures stay PNG, where JPEG's blocks would show

# Control characters but tab and line feed, what turns the direction of the text after it, and halves of surrogate pairs
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """The text with every character that would act unseen named in its place: ``⟨U+202E⟩``.

    Those are control characters (tab and line feed stay), what turns the reading direction of the text after it, and
    halves of surrogate pairs, which no file can hold.  A carriage return before a line feed is dropped.
    """
    return _UNSEEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text.replace("\r\n", "\n"))


@cache
def _templates(folder: Path) -> Environment:
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,  # Markup is not, and stays as it is
    )


def render(folder: Path, template: str, /, **values: object) -> Markup:
    """The template ``folder/template`` as markup for ``page``.

    Every value that is not Markup comes out `visible` and escaped.
    """
    return Markup(_templates(folder).get_template(template).render(**values))


def data_block(name: str, value: Any) -> Markup:
    """The value as JSON in a ``<script type="application/json" id=name>``, which no browser runs.

    Nothing in it can end the block: ``<``, ``>`` and ``&`` are escaped.  A text with half a surrogate pair must have
    gone through `visible`.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup('<script type="application/json" id="{}">{}</script>').format(name, Markup(text))


def page(title: str, body: str, *, style: str = "", script: str = "") -> str:
    """A whole HTML page around ``body``: light or dark as the reader's system is, from 360 px width up.

    ``body`` is Markup (from ``render``); a plain string is text and comes out escaped.  ``style`` and ``script`` are
    the caller's own files, set inline.  The page asks for nothing outside itself, and its content security policy lets
    only this very script run, named by its hash.
    """
    style = (ROOM / "page.css").read_text("utf-8") + style
    script = (ROOM / "page.js").read_text("utf-8") + script
    if "</script" in script.lower() or "</style" in style.lower():
        raise ValueError("an inline script or style must not hold its own closing tag")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    values = {"title": title, "body": body, "style": Markup(style), "script": Markup(script), "script_hash": digest}
    return str(render(ROOM, "page.html.jinja", **values))


def picture_uri(picture: Image, max_side: int = 384, *, small_file: bool = False) -> str:
    """The picture as a ``data:`` URI, made smaller (never larger) until no side exceeds ``max_side`` pixels.

    PNG for small or transparent pictures, else JPEG; WebP of low quality for ``small_file``.  The picture itself is
    left as it is.
    """
    from PIL import ImageOps

    small = ImageOps.exif_transpose(picture)
    transparent = small.has_transparency_data
    small = small.convert("RGBA" if transparent else "RGB")
    small.thumbnail((max_side, max_side))
    kind = "png" if transparent or max(small.size) <= LOSSLESS_SIDE else "jpeg"
    options = {"optimize": True} if kind == "png" else {"quality": 85, "optimize": True}
    if small_file:
        kind, options = "webp", {"quality": 60, "method": 4}
    buffer = io.BytesIO()
    small.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
