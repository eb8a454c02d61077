"""Picture files of every troublesome kind, made in memory: what is mended in each, or why each is refused."""

from __future__ import annotations

import io
import struct
import zlib
from random import Random

import numpy as np
from PIL import Image

SIZE = (24, 16)
"""(width, height) of each picture here, as it is shown."""


def encoded(image, form, **options):
    """The picture's file in this format."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def drawn(mode="RGB", size=SIZE):
    """Coloured noise over a gradient; with alpha, the left half is transparent."""
    width, height = size
    noise = Random(0).randbytes(3 * width * height)
    image = Image.blend(
        Image.frombytes("RGB", size, noise), Image.linear_gradient("L").resize(size).convert("RGB"), 0.7
    )
    if mode in ("LA", "RGBA"):
        alpha = Image.new("L", size, 255)
        alpha.paste(0, (0, 0, width // 2, height))
        image.putalpha(alpha)
    return image.convert(mode)


def palette(transparency):
    """A picture with a palette, one colour of which is transparent."""
    image = drawn().quantize(16)
    image.info["transparency"] = transparency
    return image


def oriented(number, form):
    """A file that is to be turned as EXIF's ``number`` says."""
    exif = Image.Exif()
    exif[0x0112] = number
    width, height = SIZE
    return encoded(drawn(size=(height, width) if number >= 5 else SIZE), form, exif=exif)


def frames(form):
    """Three frames, each of another colour."""
    several = [Image.new("RGB", SIZE, colour) for colour in ("red", "green", "blue")]
    return encoded(several[0], form, save_all=True, append_images=several[1:])


def png(size, depth, colour_type, rows):
    """A PNG file of these rows of bytes, which Pillow would not write itself."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour_type, 0, 0, 0))]
    chunks += [(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))), (b"IEND", b"")]
    parts = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def deep(channels):
    """Random rows of 16 bits a channel."""
    width, height = SIZE
    return [Random(row).randbytes(2 * channels * width) for row in range(height)]


def grey16(form):
    width, height = SIZE
    return encoded(Image.fromarray(np.arange(width * height, dtype=np.uint16).reshape(height, width) * 170), form)


def plain():
    """By file name: files that need no mending."""
    found = {f"plain.{form.lower()}": encoded(drawn(), form) for form in ("JPEG", "PNG", "WEBP", "BMP", "AVIF", "PPM")}
    found["plain.jp2"] = encoded(drawn(), "JPEG2000")
    found["plain.tif"] = encoded(drawn(), "TIFF")
    found["packed.tiff"] = encoded(drawn(), "TIFF", compression="tiff_deflate")
    found["plain.gif"] = encoded(drawn().quantize(16), "GIF")
    found["grey.JPG"] = encoded(drawn("L"), "JPEG")
    found["two_colours.png"] = encoded(drawn("1"), "PNG")
    found["palette.png"] = encoded(drawn().quantize(16), "PNG")
    found["opaque.png"] = encoded(drawn().convert("RGBA"), "PNG")
    found["progressive.jpeg"] = encoded(drawn(), "JPEG", progressive=True)
    found["damaged_exif.jpg"] = encoded(drawn(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f" + b"\xff" * 40)
    found["upright.jpg"] = oriented(1, "JPEG")
    found["without_suffix"] = encoded(drawn(), "PNG")
    return found


def mended():
    """By file name: (file, what is mended in it)."""
    turned, white = ("turned as its EXIF says",), ("transparent parts on white",)
    clear, several = ("palette with transparency on white",), ("first of several frames",)
    deep_, cmyk = ("16 bits to 8",), ("CMYK to RGB",)
    found = {f"turned{number}.jpg": (oriented(number, "JPEG"), turned) for number in range(2, 9)}
    found |= {f"turned.{form.lower()}": (oriented(6, form), turned) for form in ("PNG", "WEBP", "TIFF", "AVIF")}
    found |= {f"animated.{form.lower()}": (frames(form), several) for form in ("PNG", "WEBP", "GIF")}
    found["pages.tiff"] = (frames("TIFF"), several)
    found["with_a_second.jpg"] = (frames("MPO"), several)
    found["cmyk.jpg"] = (encoded(drawn("CMYK"), "JPEG"), cmyk)
    found["cmyk.tiff"] = (encoded(drawn("CMYK"), "TIFF"), cmyk)
    found["lab.tiff"] = (encoded(drawn("LAB"), "TIFF"), ("LAB to RGB",))
    found |= {f"grey16.{form.lower()}": (grey16(form), deep_) for form in ("PNG", "TIFF", "JPEG2000")}
    found["rgb16.png"] = (png(SIZE, 16, 2, deep(3)), deep_)
    found["rgba16.png"] = (png(SIZE, 16, 6, deep(4)), deep_ + white)
    found["grey_alpha.png"] = (encoded(drawn("LA"), "PNG"), white)
    found |= {
        f"alpha.{form.lower()}": (encoded(drawn("RGBA"), form), white) for form in ("PNG", "WEBP", "TIFF", "AVIF")
    }
    found["one_clear_colour.png"] = (encoded(palette(3), "PNG"), clear)
    found["clear_colours.png"] = (encoded(palette(bytes(range(0, 160, 10))), "PNG"), clear)
    found["clear.gif"] = (encoded(palette(3), "GIF"), clear)
    found["photo.png"] = (encoded(drawn(), "JPEG"), ("the suffix says PNG, the file is JPEG",))
    found["photo.JPG"] = (encoded(drawn(), "WEBP"), ("the suffix says JPEG, the file is WEBP",))
    return found


def refused():
    """By file name: (file, the reason of its rejection)."""
    unreadable, bomb = "unreadable picture", "too many pixels"
    found = {f"broken_off.{name}": (file[: len(file) * 2 // 3], unreadable) for name, file in _whole().items()}
    found |= {f"header_alone.{name}": (file[:20], unreadable) for name, file in _whole().items()}
    found["empty.jpg"] = (b"", unreadable)
    found["text.png"] = (b"not a picture\n" * 9, unreadable)
    found["page.jpg"] = (b"<!DOCTYPE html><title>404</title>", unreadable)
    found["vector.svg"] = (b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', unreadable)
    found["printed.eps"] = (encoded(drawn(), "EPS"), unreadable)
    found["printed.jpg"] = (encoded(drawn(), "EPS"), unreadable)
    found["printed.pdf"] = (encoded(drawn(), "PDF"), unreadable)
    found["icon.tga"] = (encoded(drawn(), "TGA"), unreadable)
    found["numbers.tiff"] = (encoded(Image.new("F", SIZE, 0.5), "TIFF"), unreadable)
    found["below_zero.tiff"] = (encoded(Image.new("I", SIZE, -1), "TIFF"), unreadable)
    found["nothing_in_it.png"] = (png((0, 0), 8, 2, []), unreadable)
    found["bomb.png"] = (png((16_000, 8_000), 1, 0, [bytes(2_000)] * 8_000), bomb)
    found["bomb_by_its_header.png"] = (png((2**31 - 1, 2**31 - 1), 8, 2, [b"\0"]), bomb)
    found["bomb_by_its_header.gif"] = (b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02\x01\0\0;", bomb)
    return found


def _whole():
    """By suffix: a whole file of each format that has enough in it to be broken off."""
    picture = Image.frombytes("RGB", (96, 96), Random(1).randbytes(3 * 96 * 96))
    forms = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "bmp": "BMP", "tiff": "TIFF", "ppm": "PPM", "jp2": "JPEG2000"}
    return {suffix: encoded(picture, form) for suffix, form in forms.items()} | {
        "gif": encoded(picture.quantize(64), "GIF"),
        "avif": encoded(picture, "AVIF"),
    }
