"""The page shell that all reports share: one self-contained file, everything from outside escaped."""

from __future__ import annotations

import base64
import hashlib
import io
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

if TYPE_CHECKING:
    from PIL.Image import Image

ROOM = Path(__file__).parent
LOSSLESS_SIDE = 128  # pixels; smaller pictures stay PNG, where JPEG's blocks would show


@cache
def _templates(folder: Path) -> Environment:
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(folder: Path, template: str, /, **values: object) -> Markup:
    """The template ``folder/template`` as markup for ``page``; every value that is not Markup comes out escaped."""
    return Markup(_templates(folder).get_template(template).render(**values))


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


def picture_uri(picture: Image, max_side: int = 384) -> str:
    """The picture as a ``data:`` URI, made smaller (never larger) until no side exceeds ``max_side`` pixels.

    PNG for small or transparent pictures, else JPEG.  The picture itself is left as it is.
    """
    from PIL import ImageOps

    small = ImageOps.exif_transpose(picture)
    transparent = small.has_transparency_data
    small = small.convert("RGBA" if transparent else "RGB")
    small.thumbnail((max_side, max_side))
    kind = "png" if transparent or max(small.size) <= LOSSLESS_SIDE else "jpeg"
    options = {"optimize": True} if kind == "png" else {"quality": 85, "optimize": True}
    buffer = io.BytesIO()
    small.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
