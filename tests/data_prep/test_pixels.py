"""What the preview shows of a picture is what the model gets: every family's tensors become the picture again."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from PIL import Image

from data_prep.collate import TrainCollator
from data_prep.demo.tiny import FAMILIES, tiny_family
from data_prep.demo.tiny.build import build_processor
from data_prep.example import Example
from data_prep.images import open_image
from data_prep.pixels import by_picture, shown_pictures

COLOURS = {  # in reading order
    "left top": (220, 40, 40),
    "right top": (40, 200, 60),
    "left low": (50, 60, 220),
    "right low": (230, 210, 50),
}
TILES = {  # how many a picture of 28 x 28 and one of 100 x 300 pixels are cut into; elsewhere it is one each
    "aya_vision": [1, 4],
    "cohere2_vision": [1, 4],
    "granite4_vision": [2, 4],
    "idefics3": [5, 3],
    "internvl": [1, 4],
    "lfm2_vl": [1, 4],
    "llava_next": [3, 4],
    "llava_onevision": [1, 1],  # two beside each other are not cut
    "minicpmv4_6": [1, 4],
    "minicpmv4_7": [1, 4],
    "mllama": [1, 3],
    "molmo2": [5, 5],
    "ovis2": [1, 4],
    "smolvlm": [10, 4],
}
GRIDS = ["aya_vision", "cohere2_vision", "granite4_vision", "idefics3", "internvl", "llava_next", "llava_onevision"]
GRIDS += ["molmo2", "ovis2"]
"""Families that cut a picture of 64 x 64 pixels into 2 x 2 tiles and show the whole of it before or after."""


@cache
def processor(family):
    return build_processor(tiny_family(family))


def picture(width=28, height=28):
    """Four colours, that grow lighter to the right and darker downwards."""
    y, x = np.mgrid[0:height, 0:width] + 0.5
    pixels = np.empty((height, width, 3))
    for name, colour in COLOURS.items():
        pixels[(("left" in name) == (x < width / 2)) & (("top" in name) == (y < height / 2))] = colour
    pixels += 24 * (x / width - 0.5)[..., None] - 24 * (y / height - 0.5)[..., None]
    return Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8))


def shown(family, *pictures):
    example = Example("row", pictures, "what is it?", "red", ("red",), "test")
    batch = TrainCollator(processor(family))([example])
    return shown_pictures(processor(family), batch, [open_image(one) for one in pictures])


def difference(tile, wanted):
    """The mean difference of colours, of 255, from the picture at the tile's size."""
    resized = wanted.resize(tile.size, Image.Resampling.BICUBIC)
    return np.abs(np.asarray(tile, float) - np.asarray(resized, float)).mean()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_picture_comes_back(family):
    tiles = shown(family, picture())[0]
    assert min(difference(tile, picture()) for tile in tiles) < 6
    turned = [picture().transpose(way) for way in Image.Transpose]  # no other way up fits
    assert min(difference(tile, other) for tile in tiles for other in turned) > 30


@pytest.mark.parametrize("family", FAMILIES)
def test_colours_come_back_exactly(family):
    plain = Image.new("RGB", (28, 28), (201, 57, 130))
    (tiles,) = shown(family, plain)
    for tile in tiles:
        found = set(map(tuple, np.asarray(tile).reshape(-1, 3).tolist()))
        assert (201, 57, 130) in found and found <= {(201, 57, 130), (0, 0, 0)}  # black fills a tile up


@pytest.mark.parametrize("family", FAMILIES)
def test_each_picture_has_its_own_tiles(family):
    wanted = TILES.get(family, [1, 1])
    found = shown(family, picture(28, 28), picture(100, 300))
    assert [len(tiles) for tiles in found] == wanted
    assert [len(tiles) for tiles in shown(family, picture(100, 300), picture(28, 28))] == wanted[::-1]
    assert min(difference(tile, picture()) for tile in found[0]) < 6


@pytest.mark.parametrize("family", GRIDS)
def test_tiles_stand_in_reading_order_beside_the_whole(family):
    (tiles,) = shown(family, picture(64, 64))
    whole = min(range(5), key=lambda number: difference(tiles[number], picture(64, 64)))
    assert whole in (0, 4)
    cut = [tile for number, tile in enumerate(tiles) if number != whole]
    for tile, colour in zip(cut, COLOURS.values(), strict=True):
        middle = np.asarray(tile, float)[6:14, 6:14].mean((0, 1))
        assert np.abs(middle - colour).max() < 30


def test_a_picture_of_several_patches_across_keeps_its_shape():
    for family, size in (("qwen3_vl", (160, 96)), ("gemma4", (180, 108)), ("mistral3", (112, 84))):
        ((tile,),) = shown(family, picture(200, 120))
        assert tile.size == size and difference(tile, picture(200, 120)) < 6


def test_smaller_pictures_in_a_padded_tensor_have_no_padding():
    (small,), (large,) = shown("mistral3", picture(64, 64), picture(200, 120))
    assert (small.size, large.size) == ((84, 84), (112, 84))
    black = Image.new("RGB", (28, 28))
    assert [[tile.size for tile in tiles] for tiles in shown("llava_next", black, picture(64, 64))] == [
        [(28, 28)] * 3,
        [(28, 28)] * 5,
    ]


@pytest.mark.parametrize("family", ["llava", "qwen3_vl", "mllama"])
def test_a_row_without_pictures_shows_none(family):
    assert shown(family) == []


def test_pictures_share_what_is_left_when_none_is_cut():
    assert by_picture("abcd", [1, 3]) == [["a"], list("bcd")]
    assert by_picture("abcd", [5, 3]) == [["a", "b"], ["c", "d"]]
    with pytest.raises(AssertionError):
        by_picture("abc", [2, 2])
