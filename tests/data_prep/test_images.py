"""Pictures of every kind come out as plain RGB, the right way up; broken ones are named."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import hostile_pictures
import numpy as np
import pytest
from PIL import Image, ImageOps

from data_prep import images
from data_prep.images import Resized, inspect, open_image, picture_size
from data_prep.rows import RowError
from mlplora_vlm.errors import MendableError

RED, BLUE = (255, 0, 0), (0, 0, 255)
PLAIN, MENDED, REFUSED = hostile_pictures.plain(), hostile_pictures.mended(), hostile_pictures.refused()
WANTED = {name: (file, ()) for name, file in PLAIN.items()} | MENDED


def saved(tmp_path, picture, name="picture.png", **options):
    picture.save(tmp_path / name, **options)
    return tmp_path / name


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB"])
def test_every_mode_becomes_rgb_of_the_same_size(mode):
    source = Image.new("RGB", (5, 3), RED)
    source = source.convert("LAB") if mode == "LAB" else source.convert(mode)
    picture = open_image(source)
    assert (picture.mode, picture.size) == ("RGB", (5, 3))


def test_palette_and_cmyk_keep_their_colours(tmp_path):
    source = Image.new("RGB", (8, 8), RED)
    assert open_image(saved(tmp_path, source.convert("P"))).getpixel((0, 0)) == RED
    cmyk = open_image(saved(tmp_path, source.convert("CMYK"), "cmyk.jpg", quality=95)).getpixel((4, 4))
    assert np.abs(np.subtract(cmyk, RED)).max() <= 8


def test_exif_rotation_is_applied_and_known_from_the_header(tmp_path):
    source = Image.new("RGB", (40, 20), RED)
    source.paste(BLUE, (0, 0, 20, 20))  # the left half
    exif = source.getexif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise: the left half comes to the top
    path = saved(tmp_path, source, exif=exif)
    picture = open_image(path)
    assert picture.size == picture_size(path) == (20, 40)
    assert picture.getpixel((10, 5)) == BLUE and picture.getpixel((10, 35)) == RED


def test_transparent_parts_become_white(tmp_path):
    source = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert open_image(saved(tmp_path, source)).getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    assert open_image(saved(tmp_path, palette, "palette.png", transparency=1)).getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bits_are_scaled_and_not_cut(tmp_path):
    values = np.array([[0, 257 * 100], [257 * 200, 65535]], dtype=np.uint16)
    for source in (saved(tmp_path, Image.fromarray(values)), Image.fromarray(values.astype(np.int32))):
        assert np.asarray(open_image(source))[..., 0].tolist() == [[0, 100], [200, 255]]


def test_floating_point_pictures_are_refused():
    with pytest.raises(MendableError, match="no known range"):
        open_image(Image.new("F", (2, 2), 0.5))


def test_first_frame_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (4, 4), RED), Image.new("RGB", (4, 4), BLUE)]
    path = saved(tmp_path, frames[0], "animation.gif", save_all=True, append_images=frames[1:])
    assert open_image(path).getpixel((0, 0)) == RED
    moved = Image.open(path)
    moved.seek(1)
    assert open_image(moved).getpixel((0, 0)) == RED


def test_truncated_file_is_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    for name in ("whole.png", "whole.jpg"):
        path = saved(tmp_path, Image.fromarray(noise), name)
        path.write_bytes(path.read_bytes()[:-800])
        with pytest.raises(MendableError, match=name):
            open_image(path)


def test_what_is_no_picture_or_missing_is_named(tmp_path):
    text = tmp_path / "text.png"
    text.write_text("not a picture")
    for path in (text, tmp_path / "missing.png", tmp_path):
        with pytest.raises(MendableError, match=str(path)):
            open_image(path)
        with pytest.raises(MendableError, match=str(path)):
            picture_size(path)


def test_decompression_bombs_are_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 99)
    with pytest.raises(MendableError, match=r"picture\.png: 10 x 10 pixels"):
        open_image(saved(tmp_path, Image.new("L", (10, 10))))


def test_a_bomb_that_pillow_refuses_is_named_with_the_limit_in_force():
    header = hostile_pictures.refused()["bomb_by_its_header.png"][0]
    with pytest.raises(MendableError) as error:
        open_image(header)
    assert f"{(2**31 - 1) ** 2} pixels" in error.value.what
    assert f"more than {images.MAX_PIXELS:,}" in error.value.what and "limit of" not in error.value.what


def test_a_pointer_in_place_of_a_picture_is_called_so(tmp_path):
    path = tmp_path / "picture.png"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1\n")
    with pytest.raises(MendableError, match="git-LFS pointer"):
        open_image(path)


def test_the_source_picture_is_left_alone():
    source = Image.new("RGB", (2, 2), RED)
    open_image(source).putpixel((0, 0), BLUE)
    assert source.getpixel((0, 0)) == RED


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # where Pillow opens the file alone
@pytest.mark.parametrize("name", WANTED)
def test_what_was_mended_is_said(tmp_path, name):
    file, repairs = WANTED[name]
    path = tmp_path / name
    path.write_bytes(file)
    found, picture = inspect(path), open_image(path)
    assert found.repairs == repairs
    assert found.size == picture.size == picture_size(path) == hostile_pictures.SIZE
    assert (picture.mode, picture.info, picture.getexif()) == ("RGB", {}, {})
    in_memory = tuple(repair for repair in repairs if "suffix" not in repair)
    assert inspect(file) == images.Inspected(found.size, found.digest, in_memory)
    assert picture_size(file) == found.size and open_image(file).tobytes() == picture.tobytes()
    with Image.open(path) as lazy:
        assert picture_size(lazy) == found.size and inspect(lazy).digest == found.digest
    assert inspect(hostile_pictures.encoded(picture, "PNG")) == images.Inspected(found.size, found.digest, ())


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_refused_with_its_reason(tmp_path, name):
    file, reason = REFUSED[name]
    path = tmp_path / name
    path.write_bytes(file)
    for read in (inspect, open_image):
        for source in (path, file):
            with pytest.raises(RowError) as error:
                read(source)
            assert error.value.reason == reason
            assert ("a picture in memory" if source is file else str(path)) in error.value.what


def test_a_missing_file_has_its_own_reason(tmp_path):
    for read in (inspect, open_image, picture_size):
        with pytest.raises(RowError, match=r"there is no picture .*none\.png") as error:
            read(tmp_path / "none.png")
        assert error.value.reason == "missing picture"
    for odd in (Path("a\0b.png"), Path("\ud800.png"), Path("a" * 5000), tmp_path):
        with pytest.raises(RowError):
            inspect(odd)


def test_every_turn_is_that_of_exif():
    for number in range(1, 9):
        file = hostile_pictures.oriented(number, "PNG")
        with Image.open(io.BytesIO(file)) as stored:
            assert open_image(file).tobytes() == ImageOps.exif_transpose(stored).tobytes()


def test_no_other_program_is_started(tmp_path, monkeypatch):
    from PIL import EpsImagePlugin

    started = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *given: started.append(given))
    file = hostile_pictures.refused()["printed.eps"][0]
    with Image.open(io.BytesIO(file)) as drawing, pytest.raises(AssertionError):
        drawing.load()  # nothing was drawn
    assert len(started) == 1  # as Pillow by itself does
    with pytest.raises(RowError):
        open_image(file)
    assert len(started) == 1


def test_digest_is_of_size_and_pixels():
    tall, wide = Image.new("RGB", (2, 300), RED), Image.new("RGB", (300, 2), RED)
    assert inspect(tall).digest != inspect(wide).digest
    noise = hostile_pictures.drawn(size=(7, 200))
    assert inspect(noise).digest == hashlib.sha256(b"RGB 7 200\n" + noise.tobytes()).hexdigest()
    other = noise.copy()
    other.putpixel((6, 199), (1, 2, 3))
    assert inspect(other).digest != inspect(noise).digest


def test_resized_pictures(tmp_path):
    path = saved(tmp_path, hostile_pictures.drawn(size=(90, 60)))
    for source in (path, path.read_bytes(), open_image(path)):
        smaller = Resized(source, (31, 20))
        assert open_image(smaller).size == picture_size(smaller) == inspect(smaller).size == (31, 20)
        assert open_image(smaller).tobytes() == open_image(path).resize((31, 20), 1, reducing_gap=3.0).tobytes()
    assert picture_size(Resized(tmp_path / "missing.png", (3, 4))) == (3, 4)
    with pytest.raises(RowError, match=r"missing\.png"):
        open_image(Resized(tmp_path / "missing.png", (3, 4)))
