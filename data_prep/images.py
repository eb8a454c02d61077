"""Opens a picture of any kind as plain RGB, the right way up, or says which file cannot be used."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from data_prep.rows import RowError
from mlplora_vlm.files import is_lfs_pointer

MAX_PIXELS = 100_000_000
"""Larger pictures are refused before they are decoded: a few kilobytes can unpack to gigabytes."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")
"""What is decoded, all of it within Pillow; it would hand EPS to another program, and takes any bytes for TGA."""

SIXTEEN_BITS = "16 bits to 8"
PALETTE_ON_WHITE = "palette with transparency on white"
ON_WHITE = "transparent parts on white"
FIRST_FRAME = "first of several frames"
TURNED = "turned as its EXIF says"

_COLOURS = ("CMYK", "YCbCr", "LAB", "HSV")
_ORIENTATION = 0x0112  # EXIF tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PIXELS = re.compile(r"\(([\d x]+) pixels\)")
_ROWS = 64  # hashed at a time: no second copy of a large picture


@dataclass(frozen=True)
class Resized:
    """A picture made smaller, or larger, to ``size``: (width, height) in pixels."""

    source: Path | bytes | Image.Image
    size: tuple[int, int]


Source = Path | bytes | Image.Image | Resized
"""A file, an encoded file in memory, a picture, or one that is made smaller."""


@dataclass(frozen=True)
class Inspected:
    """What decoding a picture once tells of it.

    ``size`` is (width, height) in pixels as `open_image` gives it.  ``digest`` is the SHA-256 in hexadecimal of that
    size and the RGB pixels: the same for the same picture in another container, or with other metadata.  ``repairs``
    are short texts of a closed set: the constants above, "CMYK to RGB" and the like, and "the suffix says PNG, the
    file is JPEG" for each two formats.
    """

    size: tuple[int, int]
    digest: str
    repairs: tuple[str, ...]


def open_image(source: Source) -> Image.Image:
    """The picture as a new RGB picture of 8 bits a channel, without metadata.

    EXIF rotation is applied; of an animation the first frame is taken; transparent parts become white; 16-bit grey is
    scaled to 8 bits.  Raises RowError, naming the file, where it is missing, truncated, no picture in one of `FORMATS`,
    or larger than `MAX_PIXELS`; whatever the file holds, it raises nothing else.
    """
    return _decoded(source)[0]


def picture_size(source: Source) -> tuple[int, int]:
    """(width, height) in pixels as `open_image` gives it, read from the file's header, but for PNG, which is decoded.

    Raises as `open_image` does, but not for a picture that breaks off after its header.
    """
    if isinstance(source, Resized):
        return source.size
    with _opened(source) as image:
        width, height = image.size
        turned = _orientation(image) >= 5 and not _turns_itself(image)
        return (height, width) if turned else (width, height)


def inspect(source: Source) -> Inspected:
    """Decodes the whole picture once; raises as `open_image` does."""
    image, repairs = _decoded(source)
    digest = hashlib.sha256(b"RGB %d %d\n" % image.size)
    for top in range(0, image.height, _ROWS):
        digest.update(image.crop((0, top, image.width, min(top + _ROWS, image.height))).tobytes())
    return Inspected(image.size, digest.hexdigest(), repairs)


def _decoded(source: Source) -> tuple[Image.Image, tuple[str, ...]]:
    """What `open_image` gives, and what was mended for it."""
    if isinstance(source, Resized):
        image, repairs = _decoded(source.source)
        return image.resize(source.size, Image.Resampling.LANCZOS, reducing_gap=3.0), repairs
    with _opened(source) as image:
        repairs = tuple(_suffix(source, image))
        if getattr(image, "is_animated", False):
            repairs += (FIRST_FRAME,)
        wide = any(";16" in f"{tile.args}" for tile in getattr(image, "tile", ())) and image.mode[0] != "I"
        turned = _turns_itself(image) and _orientation(image) > 1
        image.load()
        if (turn := _TURNS.get(_orientation(image))) is not None:
            image, turned = image.transpose(turn), True
        image, mended = _rgb(image)
        image.info = {}
        return image, repairs + (TURNED,) * turned + (SIXTEEN_BITS,) * wide + mended


def _rgb(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """The picture as a new RGB one, and what was mended for it."""
    mended = (f"{image.mode} to RGB",) * (image.mode in _COLOURS)
    if image.mode == "F" or image.mode[0] == "I":
        image, mended = _eight_bits(image), (SIXTEEN_BITS,)
    if image.has_transparency_data:
        palette = image.mode in ("P", "PA")
        image = image.convert("RGBA")  # dropping alpha instead would show whatever colour lies beneath it
        if image.getchannel("A").getextrema() != (255, 255):
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            mended += (PALETTE_ON_WHITE if palette else ON_WHITE,)
    return image.convert("RGB"), mended


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits (also where it is held in 32) as 8 bits; Pillow's own conversion would cut at 255 instead."""
    import numpy as np

    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError(f"it holds numbers of no known range, in mode {image.mode!r}: save it with 8 or 16 bits")
    return Image.fromarray((values.astype(np.uint32) // 257).astype(np.uint8))


def _suffix(source: Source, image: Image.Image) -> Iterator[str]:
    """What is wrong with the file's name, if anything."""
    if isinstance(source, Path):
        says = Image.registered_extensions().get(source.suffix.lower())
        is_ = "JPEG" if image.format == "MPO" else image.format  # a phone's JPEG with a second picture behind it
        if says and says not in (is_, image.format):
            yield f"the suffix says {says}, the file is {is_}"


def _orientation(image: Image.Image) -> int:
    """EXIF's number from 1 to 8 of how the picture is to be turned; those from 5 on exchange its sides."""
    try:
        number = image.getexif().get(_ORIENTATION)
    except Exception:  # damaged EXIF is as good as none
        return 1
    return number if number in _TURNS else 1


def _turns_itself(image: Image.Image) -> bool:
    """Whether Pillow gives the size of the turned picture, turns it as it loads it, and then drops the orientation."""
    return image.format == "TIFF"


@contextmanager
def _opened(source: Path | bytes | Image.Image) -> Iterator[Image.Image]:
    """The picture at its first frame, not yet decoded; raises RowError for all that goes wrong, also while in use."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on bombs, which are refused below, and on damaged metadata
            with _lazy(source) as image:
                if getattr(image, "is_animated", False):
                    image.seek(0)
                if image.width * image.height > MAX_PIXELS:
                    raise Image.DecompressionBombError(f"({image.width} x {image.height} pixels)")
                if not image.width * image.height:
                    raise ValueError("it has no pixels")
                yield image
    except FileNotFoundError as error:
        raise RowError("missing picture", f"there is no picture {_name(source)}") from error
    except Image.DecompressionBombError as error:
        count = _PIXELS.search(str(error))  # Pillow, which refuses the largest by itself, names a limit of its own
        what = f"{_name(source)}: {count[1] if count else 'it has'} pixels, more than {MAX_PIXELS:,}"
        raise RowError("too many pixels", what) from error
    except UnidentifiedImageError as error:
        what = f"{_name(source)} holds no {', '.join(FORMATS)} picture"
        if isinstance(source, Path) and is_lfs_pointer(source):
            what = f"{source} is a git-LFS pointer, not the picture itself: run `git lfs pull`"
        raise RowError("unreadable picture", what) from error
    except Exception as error:  # whatever a hostile file drives Pillow into: KeyError, ZeroDivisionError, …
        what = f"{_name(source)} cannot be read ({type(error).__name__}: {error!s:.200})"
        raise RowError("unreadable picture", what) from error


def _lazy(source: Path | bytes | Image.Image) -> Image.Image | nullcontext[Image.Image]:
    if isinstance(source, Image.Image):
        return nullcontext(source)
    return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS)


def _name(source: Path | bytes | Image.Image) -> str:
    name = source if isinstance(source, Path) else getattr(source, "filename", "")
    return str(name or "a picture in memory")
