"""COCO Captions from files in the official form (captions_val2014.json, version 1.0)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data_prep.sources import coco_captions
from mlplora_vlm.errors import MendableError

CAPTIONS = [
    {"image_id": 203564, "id": 37, "caption": "A bicycle replica with a clock as the front wheel."},
    {"image_id": 179765, "id": 38, "caption": "A black Honda motorcycle parked in front of a garage."},
    {"image_id": 203564, "id": 181, "caption": "The bike has a clock as a tire."},
]


def folder(path: Path, split: str, captions: list = CAPTIONS) -> Path:
    images = [
        {"file_name": f"COCO_{split}2014_{number:012d}.jpg", "height": 360, "width": 640, "license": 3, "id": number}
        for number in (179765, 203564)
    ]
    (path / "annotations").mkdir()
    (path / f"{split}2014").mkdir()
    whole = {"info": {"version": "1.0"}, "images": images, "licenses": [], "annotations": captions}
    (path / "annotations" / f"captions_{split}2014.json").write_text(json.dumps(whole))
    for image in images:
        (path / f"{split}2014" / image["file_name"]).write_bytes(b"not opened here")
    return path


def test_training_has_a_row_for_each_caption(tmp_path: Path) -> None:
    rows = list(coco_captions.rows("train", folder(tmp_path, "train")))
    assert [row.id for row in rows] == [f"coco_captions/train/{number}" for number in (37, 38, 181)]
    assert [row.answer for row in rows] == [caption["caption"] for caption in CAPTIONS]
    assert rows[0].images == rows[2].images == (tmp_path / "train2014" / "COCO_train2014_000000203564.jpg",)
    assert all(row.references == (row.answer,) and row.question == "" for row in rows)


def test_evaluation_has_a_row_for_each_picture_with_all_its_captions(tmp_path: Path) -> None:
    first, second = coco_captions.rows("val", folder(tmp_path, "val"))
    assert (first.id, second.id) == ("coco_captions/val/179765", "coco_captions/val/203564")
    assert second.references == (CAPTIONS[0]["caption"], CAPTIONS[2]["caption"])
    assert second.answer == CAPTIONS[0]["caption"]


def test_missing_archives_are_named(tmp_path: Path) -> None:
    with pytest.raises(MendableError) as error:
        coco_captions.check("val", tmp_path)
    for part in ("captions_val2014.json", "annotations_trainval2014.zip", "val2014.zip"):
        assert part in str(error.value)


@pytest.mark.parametrize("split", coco_captions.SPLITS)
def test_captions_of_unknown_pictures_are_named(tmp_path: Path, split: str) -> None:
    with pytest.raises(MendableError, match="picture 7 has no entry"):
        list(coco_captions.rows(split, folder(tmp_path, split, [{"image_id": 7, "id": 1, "caption": "a"}])))


def test_a_picture_without_caption_is_named(tmp_path: Path) -> None:
    with pytest.raises(MendableError, match="a picture has no caption") as error:
        list(coco_captions.rows("val", folder(tmp_path, "val", CAPTIONS[1:2])))
    assert error.value.where.endswith("picture 203564")
