"""COCO Captions from files in the official form (captions_val2014.json, version 1.0) and in Karpathy's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from told import one_left_out, told, without, write_json, write_pictures

from data_prep.sources import coco_captions
from mlplora_vlm.errors import MendableError

CAPTIONS = [
    {"image_id": 203564, "id": 37, "caption": "A bicycle replica with a clock as the front wheel."},
    {"image_id": 179765, "id": 38, "caption": "A black Honda motorcycle parked in front of a garage."},
    {"image_id": 203564, "id": 181, "caption": "The bike has a clock as a tire."},
]


def image(split: str, number: int) -> dict[str, Any]:
    return {
        "license": 3,
        "file_name": f"COCO_{split}2014_{number:012d}.jpg",
        "coco_url": f"http://images.cocodataset.org/{split}2014/COCO_{split}2014_{number:012d}.jpg",
        "height": 360,
        "width": 640,
        "date_captured": "2013-11-14 11:18:45",
        "flickr_url": "http://farm9.staticflickr.com/8186/8119368305_4e622c8349_z.jpg",
        "id": number,
    }


def folder(path: Path, split: str, captions: list = CAPTIONS, images: list | None = None) -> Path:
    known = [image(split, number) for number in (179765, 203564)]
    whole = {"info": {"version": "1.0"}, "images": images or known, "licenses": [], "annotations": captions}
    write_json(path / "annotations" / f"captions_{split}2014.json", whole)
    write_pictures(path / f"{split}2014", *(each["file_name"] for each in known))
    return path


def test_training_has_a_row_for_each_caption(tmp_path: Path) -> None:
    rows, rejected = told(coco_captions.rows("train", folder(tmp_path, "train")))
    assert not rejected and [row.id for row in rows] == [f"coco_captions/train/{number}" for number in (37, 38, 181)]
    assert [row.answer for row in rows] == [caption["caption"] for caption in CAPTIONS]
    assert rows[0].images == rows[2].images == (tmp_path / "train2014" / "COCO_train2014_000000203564.jpg",)
    assert all(row.references == (row.answer,) and row.question == "" for row in rows)
    assert rows[2].where == f"{tmp_path / 'annotations' / 'captions_train2014.json'}, caption 2"


def test_evaluation_has_a_row_for_each_picture_with_all_its_captions(tmp_path: Path) -> None:
    rows, rejected = told(coco_captions.rows("val", folder(tmp_path, "val")))
    first, second = rows
    assert not rejected and (first.id, second.id) == ("coco_captions/val/179765", "coco_captions/val/203564")
    assert second.references == (CAPTIONS[0]["caption"], CAPTIONS[2]["caption"])
    assert second.answer == CAPTIONS[0]["caption"]
    assert second.where == f"{tmp_path / 'annotations' / 'captions_val2014.json'}, picture 1"


@pytest.mark.parametrize(
    ("split", "parts"),
    [
        ("val", ("captions_val2014.json", "annotations_trainval2014.zip", "val2014.zip")),
        ("karpathy_train", ("dataset_coco.json", "caption_datasets.zip", "train2014.zip", "val2014.zip")),
        ("karpathy_test", ("dataset_coco.json", "val2014.zip")),
    ],
)
def test_missing_archives_are_named(tmp_path: Path, split: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(MendableError) as error:
        coco_captions.check(split, tmp_path)
    for part in parts:
        assert part in str(error.value)


BAD_CAPTIONS = [
    (CAPTIONS[1] | {"image_id": 7}, "missing picture", "picture 7 has"),
    (CAPTIONS[1] | {"caption": None}, "wrong type", "not text"),
    (CAPTIONS[1] | {"image_id": "179765"}, "wrong type", "not a whole number"),
    (without(CAPTIONS[1], "caption"), "missing field", "lacks 'caption'"),
    (None, "missing field", "lacks 'image_id'"),
]


@pytest.mark.parametrize(
    ("caption", "reason", "says"), [*BAD_CAPTIONS, (without(CAPTIONS[1], "id"), "missing field", "'id'")]
)
def test_a_bad_caption_is_left_out_of_training(tmp_path: Path, caption: Any, reason: str, says: str) -> None:
    captions = [CAPTIONS[0], caption, CAPTIONS[2]]
    accepted, rejected = one_left_out(coco_captions.rows("train", folder(tmp_path, "train", captions)), 3)
    assert [row.id for row in accepted] == ["coco_captions/train/37", "coco_captions/train/181"]
    assert rejected.reason == reason and says in rejected.detail and rejected.where.endswith("caption 1")


@pytest.mark.parametrize(("caption", "reason", "says"), BAD_CAPTIONS)
def test_a_bad_caption_is_said_and_costs_no_picture(tmp_path: Path, caption: Any, reason: str, says: str) -> None:
    captions = [*CAPTIONS, caption]
    accepted, rejected = one_left_out(coco_captions.rows("val", folder(tmp_path, "val", captions)), 2 + 1)
    assert [len(row.references) for row in accepted] == [1, 2]
    assert rejected.reason == reason and says in rejected.detail and "captions_val2014.json" in rejected.where


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"file_name": "../secret.jpg"}, "picture outside its folder"),
        ({"file_name": "linked.jpg"}, "picture outside its folder"),
        ({"file_name": "none.jpg"}, "missing picture"),
        ({"file_name": 3}, "wrong type"),
        ({"id": 4}, "no annotation"),
    ],
)
def test_a_bad_picture_costs_its_own_rows(tmp_path: Path, change: dict, reason: str) -> None:
    for split, total, kept in (("train", 3, 1), ("val", 2, 1)):
        images = [image(split, 179765), image(split, 203564) | change]
        rows = coco_captions.rows(split, folder(tmp_path, split, images=images))
        accepted, rejected = told(rows)
        assert len(accepted) == kept and accepted[0].references == (CAPTIONS[1]["caption"],)
        if "id" in change:  # its captions are of a picture without an entry
            assert {row.reason for row in rejected} == ({"missing picture"} | ({reason} if split == "val" else set()))
        else:
            assert {row.reason for row in rejected} == {reason} and len(accepted) + len(rejected) == total


def entry(number: int, split: str, filepath: str, *captions: str) -> dict[str, Any]:
    sentences = [
        {"tokens": raw.lower().rstrip(".").split(), "raw": raw, "imgid": number, "sentid": 10 * number + each}
        for each, raw in enumerate(captions)
    ]
    return {
        "filepath": filepath,
        "sentids": [sentence["sentid"] for sentence in sentences],
        "filename": f"COCO_{filepath}_{number:012d}.jpg",
        "imgid": number,
        "split": split,
        "sentences": sentences,
        "cocoid": 522418 + number,
    }


ENTRIES = [
    entry(0, "restval", "val2014", "A woman wearing a net on her head cutting a cake. ", "A woman cutting a cake."),
    entry(1, "val", "val2014", "A young boy in front of a keyboard.", "A boy with headphones on."),
    entry(2, "train", "train2014", "A man on a moped.", "A man rides."),
    entry(3, "test", "val2014", "A zebra.", "A zebra grazing in grass."),
    entry(4, "test", "val2014", "A dog.", "A dog on a bed."),
    entry(5, "test", "val2014", "A cat."),
]


def karpathy(path: Path, entries: list = ENTRIES) -> Path:
    write_json(path / "dataset_coco.json", {"images": entries, "dataset": "coco"})
    for each in ENTRIES:
        write_pictures(path / each["filepath"], each["filename"])
    return path


def test_karpathys_training_split_takes_in_restval(tmp_path: Path) -> None:
    rows, rejected = told(coco_captions.rows("karpathy_train", karpathy(tmp_path)))
    assert not rejected
    assert [row.id for row in rows] == [f"coco_captions/karpathy_train/{number}" for number in (0, 1, 20, 21)]
    assert [row.answer for row in rows] == [one["raw"] for each in (0, 2) for one in ENTRIES[each]["sentences"]]
    assert all(row.references == (row.answer,) and row.question == "" for row in rows)
    assert [row.images[0].parent.name for row in rows] == ["val2014", "val2014", "train2014", "train2014"]
    assert rows[1].where == f"{tmp_path / 'dataset_coco.json'}, picture 0, caption 1"


def test_karpathys_test_split_has_a_row_for_each_picture(tmp_path: Path) -> None:
    rows, rejected = told(coco_captions.rows("karpathy_test", karpathy(tmp_path)))
    assert not rejected
    assert [row.id for row in rows] == [f"coco_captions/karpathy_test/{522418 + number}" for number in (3, 4, 5)]
    assert rows[0].references == ("A zebra.", "A zebra grazing in grass.") and rows[0].answer == "A zebra."
    [val], _ = told(coco_captions.rows("karpathy_val", tmp_path))
    assert val.images == (tmp_path / "val2014" / "COCO_val2014_000000000001.jpg",)


@pytest.mark.parametrize(
    ("bad", "reason", "says"),
    [
        (ENTRIES[4] | {"sentences": []}, "no annotation", "no caption"),
        (ENTRIES[4] | {"sentences": "A dog."}, "wrong type", "not a list"),
        (ENTRIES[4] | {"sentences": [{"tokens": ["a"], "imgid": 4, "sentid": 1}]}, "missing field", "lacks 'raw'"),
        (without(ENTRIES[4], "split"), "missing field", "lacks 'split'"),
        (ENTRIES[4] | {"split": "tests"}, "wrong type", "none of train, restval, val, test"),
        (without(ENTRIES[4], "cocoid"), "missing field", "lacks 'cocoid'"),
        (ENTRIES[4] | {"filepath": "train2014"}, "missing picture", "not val2014"),
        (ENTRIES[4] | {"filepath": "../val2014"}, "missing picture", "not val2014"),
        (ENTRIES[4] | {"filename": "none.jpg"}, "missing picture", "zips/val2014.zip"),
        (ENTRIES[4] | {"filename": "../secret.jpg"}, "picture outside its folder", "outside"),
        (ENTRIES[4] | {"filename": "linked.jpg"}, "picture outside its folder", "outside"),
        (3, "missing field", "lacks 'split'"),
    ],
)
def test_a_bad_entry_is_left_out_and_no_other(tmp_path: Path, bad: Any, reason: str, says: str) -> None:
    entries = [*ENTRIES[:4], bad, ENTRIES[5]]
    accepted, rejected = one_left_out(coco_captions.rows("karpathy_test", karpathy(tmp_path, entries)), 3)
    assert [row.answer for row in accepted] == ["A zebra.", "A cat."]
    assert rejected.reason == reason and says in rejected.detail and rejected.where.endswith("picture 4")


def test_a_bad_sentence_costs_one_row_of_training(tmp_path: Path) -> None:
    sentences = [
        {"raw": "A man on a moped.", "sentid": 20},
        {"raw": 7, "sentid": 21},
        {"raw": "A man rides.", "sentid": 22},
    ]
    entries = [ENTRIES[0], ENTRIES[2] | {"sentences": sentences}]
    accepted, rejected = one_left_out(coco_captions.rows("karpathy_train", karpathy(tmp_path, entries)), 5)
    assert [row.answer for row in accepted[2:]] == ["A man on a moped.", "A man rides."]
    assert rejected.where.endswith("picture 1, caption 1")


@pytest.mark.parametrize("split", ["train", "val", "karpathy_train", "karpathy_test"])
def test_a_damaged_file_is_named(tmp_path: Path, split: str) -> None:
    for name in ("train", "val"):
        folder(karpathy(tmp_path), name)
    path = tmp_path / ("dataset_coco.json" if "karpathy" in split else f"annotations/captions_{split}2014.json")
    path.write_text(path.read_text()[:-40])
    with pytest.raises(MendableError, match="not an official COCO Captions file") as error:
        list(coco_captions.rows(split, tmp_path))
    assert error.value.where == str(path)
