"""Opens a picture of any kind as plain RGB, the right way up, or says which file cannot be used."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageOps

from mlplora_vlm.errors import MendableError

MAX_PIXELS = 100_000_000
"""Larger pictures are refused before they are decoded: a few kilobytes can unpack to gigabytes."""

_ORIENTATION = 0x0112  # EXIF tag; the values 5 to 8 turn the picture by a quarter
_BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    struct.error,
    Image.DecompressionBombError,
)  # as Pillow raises


def open_image(source: Path | Image.Image) -> Image.Image:
    """The picture as a new RGB picture of 8 bits a channel.

    EXIF rotation is applied; of an animation the first frame is taken; transparent parts become white; 16-bit grey is
    scaled to 8 bits.  Raises MendableError, naming the file, where it is missing, truncated, no picture, or larger
    than `MAX_PIXELS`.
    """
    with _opened(source) as image:
        if getattr(image, "n_frames", 1) > 1:
            image.seek(0)
        return _rgb(ImageOps.exif_transpose(image), _name(source))


def picture_size(source: Path | Image.Image) -> tuple[int, int]:
    """(width, height) in pixels as `open_image` would give it, read from the file's header alone; raises as it does."""
    with _opened(source) as image:
        width, height = image.size
        return (height, width) if image.getexif().get(_ORIENTATION) in (5, 6, 7, 8) else (width, height)


@contextmanager
def _opened(source: Path | Image.Image) -> Iterator[Image.Image]:
    if isinstance(source, Image.Image):
        yield source
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # refused below, as an error
            image = Image.open(source)
        with image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError(f"{image.width} x {image.height} pixels, more than {MAX_PIXELS:,}")
            yield image
    except FileNotFoundError as error:
        raise MendableError("a picture is missing", str(source), "check the data's folder") from error
    except _BROKEN as error:
        raise MendableError(
            f"a picture cannot be read: {error}", str(source), "replace the file, or remove its rows from the data"
        ) from error


def _rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        image = _eight_bits(image, name)
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")  # dropping alpha instead would show whatever colour lies beneath it
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    if image.mode == "RGB":
        return image.copy()  # loads the pixels, so that a truncated file is noticed here
    return image.convert("RGB")


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
    """Grey of 16 bits (also where it is held in 32) as 8 bits; Pillow's own conversion would cut at 255 instead."""
    import numpy as np

    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 0xFFFF:
        raise MendableError(
            f"a picture holds numbers of no known range (mode {image.mode!r})",
            name,
            "convert it to 8 or 16 bits a channel",
        )
    return Image.fromarray((values.astype(np.uint32) // 257).astype(np.uint8))


def _name(source: Path | Image.Image) -> str:
    return str(source) if isinstance(source, Path) else str(getattr(source, "filename", "") or "a picture in memory")
