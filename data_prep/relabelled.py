"""A diagram with its labels covered and written anew: AI2D asks what "A" is, where the picture says "leaf"."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.images import open_image

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

Box = tuple[float, float, float, float]
"""(left, top, right, bottom) in pixels."""
_TRIED = 100  # the font's size that texts are measured at


def relabelled(picture: Path, labels: Iterable[tuple[Box, str]]) -> bytes:
    """The picture as PNG, each box white with its text in black, as large as fits, in its middle.

    The font is Pillow's own, so that the picture is the same everywhere.  Raises RowError as `open_image` does.
    """
    from PIL import ImageDraw

    image = open_image(picture)
    draw = ImageDraw.Draw(image)
    for (left, top, right, bottom), text in labels:
        draw.rectangle((left, top, right, bottom), fill="white")
        if text:
            font = _fitting(text, right - left, bottom - top)
            draw.text(((left + right) / 2, (top + bottom) / 2), text, fill="black", font=font, anchor="mm")
    encoded = io.BytesIO()
    image.save(encoded, "PNG", compress_level=1)
    return encoded.getvalue()


def _fitting(text: str, width: float, height: float) -> FreeTypeFont | ImageFont:
    from PIL import ImageFont

    left, top, right, bottom = ImageFont.load_default(_TRIED).getbbox(text)
    scale = min(width / max(1.0, right - left), height / max(1.0, bottom - top))
    return ImageFont.load_default(max(1.0, _TRIED * scale))
