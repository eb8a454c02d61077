"""Flickr30k (Young et al., TACL 2014) in Karpathy's split, on which papers report: five captions for a photograph.

The folder holds ``dataset_flickr30k.json`` (see data_prep/karpathy.py) beside ``flickr30k-images/1000092795.jpg`` and
so on.  29,000 train, 1,014 val and 1,000 test pictures (huggingface.co/datasets/AnyModal/flickr30k); test is what
github.com/QwenLM/Qwen-VL evaluates on, for one (commit aa00ed0, eval_mm/EVALUATION.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.confined import Pictures
from data_prep.fields import field
from data_prep.karpathy import ARCHIVE, karpathy_rows
from data_prep.official import Official
from data_prep.rows import Row
from data_prep.sources import known_split

SPLITS = ("train", "val", "test")
FLICKR = Official("Flickr30k", "https://shannon.cs.illinois.edu/DenotationGraph/")


def check(split: str, folder: Path | None = None) -> None:
    """Raises MendableErrors naming the file and the folder that are missing and where they come from; opens neither."""
    known_split("flickr30k", split, SPLITS)
    folder = FLICKR.given(folder)
    FLICKR.present([(_captions(folder), ARCHIVE), (folder / "flickr30k-images", f"flickr30k-images ({FLICKR.page})")])


def rows(split: str, folder: Path | None = None) -> Iterator[Row]:
    """train: a row for each caption; else a row for each picture, with all its captions; in the file's order.

    No row has a question: the prompt says it all.  Raises MendableError for a missing or damaged file.
    """
    check(split, folder)
    folder = FLICKR.given(folder)
    pictures = Pictures(folder / "flickr30k-images", f"ask for the pictures at {FLICKR.page}")

    def picture(entry: Any, where: str) -> Path:
        return pictures(field(entry, "filename", str, where), where)

    images = FLICKR.rows(_captions(folder), "images", "picture")
    yield from karpathy_rows(f"flickr30k/{split}", images, (split,), "imgid", picture)


def _captions(folder: Path) -> Path:
    return folder / "dataset_flickr30k.json"
