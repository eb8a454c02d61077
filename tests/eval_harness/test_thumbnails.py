"""Thumbnails: each distinct picture once, as large as there is room, and what has none is counted."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from eval_harness.thumbnails import SIZES, thumbnails


def pictures(n, side=400):
    rng = np.random.default_rng(0)
    return {("t", f"q{i}"): (Image.fromarray(rng.integers(0, 255, (side, side, 3), dtype=np.uint8)),) for i in range(n)}


def opened(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_with_room_pictures_are_large():
    found = thumbnails(pictures(2), 1_000_000)
    assert found.side == 384 and found.left_out == 0 and found.tiny == [False, False]
    assert [opened(uri).size for uri in found.uris] == [(384, 384)] * 2
    assert found.places == {("t", "q0"): [0], ("t", "q1"): [1]}


def test_with_less_room_they_are_smaller_and_all_there():
    sizes = []
    for room in (400_000, 100_000, 30_000):
        found = thumbnails(pictures(12), room)
        assert sum(map(len, found.uris)) <= room and found.left_out == 0
        sizes.append(found.side)
    assert sizes == sorted(set(sizes), reverse=True) and sizes[-1] < 192


def test_with_too_little_room_the_last_ones_are_left_out_and_counted():
    found = thumbnails(pictures(12), 4_000)
    assert found.side == SIZES[-1][0] and 0 < len(found.uris) == 12 - found.left_out < 12
    assert sum(map(len, found.uris)) <= 4_000
    assert found.places["t", "q0"] == [0] and found.places["t", "q11"] == []


def test_equal_pictures_are_one_and_several_of_a_sample_keep_their_order():
    (a,), (b,) = pictures(2).values()
    found = thumbnails({("t", "x"): (a, b), ("t", "y"): (b, a.copy())}, 1_000_000)
    assert len(found.uris) == 2 and found.places == {("t", "x"): [0, 1], ("t", "y"): [1, 0]}


def test_no_pictures_is_no_mistake():
    assert thumbnails({}, 10).side is None
    assert thumbnails({("t", "x"): ()}, 10).uris == []


def test_tiny_pictures_are_known_and_kept_without_loss():
    found = thumbnails(pictures(1, side=64), 1_000_000)
    assert found.tiny == [True] and found.uris[0].startswith("data:image/png")
