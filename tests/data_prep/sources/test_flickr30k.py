"""Flickr30k from files in Karpathy's form (see data_prep/karpathy.py; test_coco_captions.py has more of it)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from told import one_left_out, told, without, write_json, write_pictures

from data_prep.sources import flickr30k
from mlplora_vlm.errors import MendableError


def entry(number: int, split: str, filename: str, *captions: str) -> dict[str, Any]:
    sentences = [
        {"tokens": raw.lower().rstrip(".").split(), "raw": raw, "imgid": number, "sentid": 5 * number + each}
        for each, raw in enumerate(captions)
    ]
    return {
        "sentids": [sentence["sentid"] for sentence in sentences],
        "imgid": number,
        "sentences": sentences,
        "split": split,
        "filename": filename,
    }


MEN = ("Two men in green shirts standing in a yard.", "A man in a blue shirt standing in a garden.")
ENTRIES = [
    entry(0, "train", "1000092795.jpg", *MEN),
    entry(1, "test", "1007129816.jpg", "The man with pierced ears is wearing glasses.", "A man with glasses."),
    entry(2, "val", "1018148011.jpg", "A group of people stand in the back of a truck."),
    entry(3, "test", "1009434119.jpg", "A black and white dog is running in a grassy garden."),
]


def folder(path: Path, entries: list = ENTRIES) -> Path:
    write_json(path / "dataset_flickr30k.json", {"images": entries, "dataset": "flickr30k"})
    write_pictures(path / "flickr30k-images", *(each["filename"] for each in ENTRIES))
    return path


def test_training_has_a_row_for_each_caption_and_testing_one_for_each_picture(tmp_path: Path) -> None:
    train, rejected = told(flickr30k.rows("train", folder(tmp_path)))
    assert not rejected and [row.id for row in train] == ["flickr30k/train/0", "flickr30k/train/1"]
    assert tuple(row.answer for row in train) == MEN
    assert all(row.question == "" and row.references == (row.answer,) for row in train)
    test, rejected = told(flickr30k.rows("test", tmp_path))
    assert not rejected and [row.id for row in test] == ["flickr30k/test/1", "flickr30k/test/3"]
    assert [len(row.references) for row in test] == [2, 1]
    assert test[0].images == (tmp_path / "flickr30k-images" / "1007129816.jpg",)
    assert test[0].where == f"{tmp_path / 'dataset_flickr30k.json'}, picture 1"
    assert len(told(flickr30k.rows("val", tmp_path))[0]) == 1


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(MendableError) as error:
        flickr30k.check("test", tmp_path)
    for part in ("dataset_flickr30k.json", "caption_datasets.zip", "flickr30k-images", "DenotationGraph"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("bad", "reason", "says"),
    [
        (without(ENTRIES[1], "imgid"), "missing field", "lacks 'imgid'"),
        (ENTRIES[1] | {"imgid": "1"}, "wrong type", "not a whole number"),
        (without(ENTRIES[1], "filename"), "missing field", "lacks 'filename'"),
        (ENTRIES[1] | {"sentences": []}, "no annotation", "no caption"),
        (ENTRIES[1] | {"sentences": ["A man."]}, "missing field", "lacks 'raw'"),
        (ENTRIES[1] | {"split": "dev"}, "wrong type", "none of"),
        (ENTRIES[1] | {"filename": "none.jpg"}, "missing picture", "DenotationGraph"),
        (ENTRIES[1] | {"filename": "../secret.jpg"}, "picture outside its folder", "outside"),
        (ENTRIES[1] | {"filename": "linked.jpg"}, "picture outside its folder", "outside"),
    ],
)
def test_a_bad_row_is_left_out_and_no_other(tmp_path: Path, bad: Any, reason: str, says: str) -> None:
    entries = [ENTRIES[0], bad, *ENTRIES[2:]]
    [kept], rejected = one_left_out(flickr30k.rows("test", folder(tmp_path, entries)), 2)
    assert kept.id == "flickr30k/test/3"
    assert rejected.reason == reason and says in rejected.detail and rejected.where.endswith("picture 1")


@pytest.mark.parametrize("text", ["", "[]", '{"images": {}}', '{"images": [{"sentids": ['])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    path = folder(tmp_path) / "dataset_flickr30k.json"
    path.write_text(text)
    with pytest.raises(MendableError, match="not an official Flickr30k file") as error:
        list(flickr30k.rows("test", tmp_path))
    assert error.value.where == str(path)
