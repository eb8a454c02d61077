"""Karpathy's splits (Karpathy and Fei-Fei, CVPR 2015), on which papers report captioning: pictures with their captions.

In ``dataset_NAME.json`` each of the ``images`` has ``filename``, ``split``, ``imgid``, ``sentids`` and ``sentences``
(``raw``: the caption, ``tokens``, ``sentid``, ``imgid``); COCO's also ``filepath``, the folder, and ``cocoid``.  Names
and nesting: github.com/open-mmlab/mmpretrain at commit bd45198, mmpretrain/datasets/flickr30k_caption.py, and
github.com/ruotianluo/ImageCaptioning.pytorch at commit 020aff8, scripts/prepro_labels.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from data_prep.example import Example
from data_prep.fields import field
from data_prep.records import Record
from data_prep.rows import Row, RowError, each

ARCHIVE = "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"
SPLITS = ("train", "restval", "val", "test")


def karpathy_rows(
    name: str, images: Iterable[Record], splits: Collection[str], number: str, picture: Callable[[Any, str], Path]
) -> Iterator[Row]:
    """Of the ``images`` in one of the ``splits``: a row for each caption if that is to train on, else for each picture.

    An id is ``name`` and the caption's own, or the picture's under the key ``number``.  ``picture`` is given the entry
    and where it stands.
    """
    by_caption = "train" in splits

    def example(found: tuple[Any, list[Any]], where: str) -> Example:
        entry, sentences = found
        own = field(sentences[0], "sentid", int, where) if by_caption else field(entry, number, int, where)
        captions = tuple(field(sentence, "raw", str, where) for sentence in sentences)
        return Example(f"{name}/{own}", (picture(entry, where),), "", captions[0], captions, "caption")

    return each(_captioned(images, splits, by_caption), example)


def _captioned(images: Iterable[Record], splits: Collection[str], by_caption: bool) -> Iterator[Record]:
    """(where, (the picture's entry, its captions or one of them)), or the error of an entry that cannot be read."""
    for where, entry in images:
        try:
            if _split(entry, where) not in splits:
                continue
            sentences = field(entry, "sentences", list, where)
            if not sentences:
                raise RowError("no annotation", "a picture has no caption", where)
        except RowError as error:
            yield where, error
            continue
        if by_caption:
            for number, sentence in enumerate(sentences):
                yield f"{where}, caption {number}", (entry, [sentence])
        else:
            yield where, (entry, sentences)


def _split(entry: Any, where: str) -> str:
    split = field(entry, "split", str, where)
    if split not in SPLITS:  # left out of every split, nobody would miss it
        raise RowError("wrong type", f"a row's 'split' is {split!r:.80}, none of {', '.join(SPLITS)}", where)
    return split
