"""Which split a file is of: by its own name, a shard's, or its folder's."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_prep.splits import SHARD, split_of


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("set/train.parquet", "train"),
        ("set/Test.csv", "Test"),
        ("set/val/00.parquet", "val"),
        ("set/val/train.jsonl", "train"),  # the file's own name first
        ("set/train-00001-of-00002.parquet", "train"),
        ("set/test/captions-00000-of-00001.parquet", "captions"),  # a split of any name
        ("set/data/train-00000-of-00003-0a1b2c3d4e5f.parquet", "train"),  # with a hash, as before 2023
        ("set/test_mini-00000-of-00001.parquet", "test_mini"),
        ("set/rows.parquet", ""),
        ("set/training_rows.csv", ""),
        ("set/train-1-of-2.parquet", ""),
        ("train/data/rows.parquet", ""),  # the folder's folder does not count
    ],
)
def test_split_of_a_file(path: str, split: str) -> None:
    assert split_of(Path(path)) == split


def test_shards_say_which_of_how_many_they_are() -> None:
    found = SHARD.fullmatch("train-00007-of-00012-abc")
    assert found and found.groups() == ("train", "00007", "00012")
    assert not SHARD.fullmatch("train-7-of-12") and not SHARD.fullmatch("-00000-of-00001")
