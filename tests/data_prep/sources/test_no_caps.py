"""NoCaps from a file in the official form; what it shares with COCO's captions is tested there too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import official_sets
import pytest
from told import one_left_out, told, without, write_pictures

from data_prep.sources import no_caps
from mlplora_vlm.errors import MendableError

IMAGES, CAPTIONS = official_sets.NO_CAPS_IMAGES, official_sets.NO_CAPS_CAPTIONS


def test_a_picture_has_its_ten_captions_and_its_domain(tmp_path: Path) -> None:
    official_sets.no_caps(tmp_path)
    (first, second), rejected = told(no_caps.rows("val", tmp_path))
    assert not rejected and (first.id, second.id) == ("no_caps/val/0", "no_caps/val/1")
    assert (first.category, second.category) == ("in-domain", "out-domain")
    assert first.references == tuple(caption["caption"] for caption in CAPTIONS[:10]) and first.question == ""
    assert first.answer == first.references[0]
    assert first.images == (tmp_path / "images" / "0013ea2087020901.jpg",)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MendableError) as error:
        no_caps.check("val", tmp_path)
    for part in ("nocaps_val_4500_captions.json", "images is missing", "nocaps.org"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("bad", "reason", "says"),
    [
        (without(IMAGES[1], "domain"), "missing field", "lacks 'domain'"),
        (IMAGES[1] | {"domain": "in"}, "wrong type", "none of in-domain"),
        (IMAGES[1] | {"file_name": "none.jpg"}, "missing picture", "nocaps.org"),
        (IMAGES[1] | {"file_name": "../secret.jpg"}, "picture outside its folder", "outside"),
        (IMAGES[1] | {"file_name": "linked.jpg"}, "picture outside its folder", "outside"),
    ],
)
def test_a_bad_picture_is_left_out_and_no_other(tmp_path: Path, bad: Any, reason: str, says: str) -> None:
    official_sets.no_caps(tmp_path, [IMAGES[0], bad])
    write_pictures(tmp_path / "images")
    accepted, rejected = one_left_out(no_caps.rows("val", tmp_path), 2)
    assert len(accepted) == 1 and rejected.reason == reason and says in rejected.detail


def test_captions_that_belong_to_nothing_are_rejected_too(tmp_path: Path) -> None:
    official_sets.no_caps(tmp_path, IMAGES[:1], [*CAPTIONS, {"image_id": 0, "id": 99}])
    accepted, rejected = told(no_caps.rows("val", tmp_path))
    assert len(accepted) == 1 and [row.reason for row in rejected] == ["missing field", "missing picture"]
