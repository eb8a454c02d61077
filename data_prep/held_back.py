"""Which rows are trained on, and which are held back to measure the loss on: they share no picture.

Rows and pictures are numbers in arrays: a set's millions of rows take a few bytes each.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

from mlplora_vlm.errors import MendableError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Rows = NDArray[np.int64]


def split_rows(pictures: pa.ChunkedArray | Sequence[Sequence[str]], held_back: int, seed: int) -> tuple[Rows, Rows]:
    """(numbers of the training rows, of the held-back rows), both rising; ``pictures`` are each row's, by any key.

    Of the held-back rows the pictures are shown to no training row: whole pictures are set aside, chosen by ``seed``,
    and rows of theirs that are not needed are in neither list.  A row without pictures stands for itself.
    Raises MendableError where so many rows cannot be held back.
    """
    import numpy as np

    if not held_back:
        return np.arange(len(pictures)), np.arange(0)
    shown = _Shown(pictures)
    aside = shown.set_aside(held_back, seed)
    kept = np.bincount(shown.rows, weights=aside[shown.pictures], minlength=len(pictures))
    evaluation = np.flatnonzero(kept == np.diff(shown.starts))
    if len(evaluation) < held_back:
        what = f"{len(evaluation)} rows can be held back, not {held_back}"
        raise MendableError(what, "train.eval_rows", "lower train.eval_rows")
    return np.flatnonzero(kept == 0), drawn(evaluation, held_back, seed)


def drawn(rows: Rows, count: int, seed: int) -> Rows:
    """``count`` of the rows (0: all), chosen by ``seed``, in their old order."""
    return rows[sorted(Random(seed).sample(range(len(rows)), count))] if count else rows


class _Shown:
    """Which row shows which picture: pairs of ``rows`` and ``pictures``, by row, each pair once.

    The pairs of a row begin at its place in ``starts``, which has one more for the end.
    """

    def __init__(self, pictures: pa.ChunkedArray | Sequence[Sequence[str]]) -> None:
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        if not isinstance(pictures, pa.ChunkedArray):
            pictures = pa.chunked_array([pa.array(pictures, pa.list_(pa.string()))])
        counts = pc.list_value_length(pictures).to_numpy()
        keys = pc.list_flatten(pictures).cast(pa.large_string()).combine_chunks().dictionary_encode()
        codes = keys.indices.to_numpy().astype(np.int64)
        bare = np.flatnonzero(counts == 0)  # such a row's only picture is one that no other row has
        numbers = len(keys.dictionary) + len(bare)
        rows = np.concatenate([np.repeat(np.arange(len(counts)), counts), bare])
        codes = np.concatenate([codes, np.arange(len(keys.dictionary), numbers)])
        self.rows, self.pictures = np.divmod(np.unique(rows * max(1, numbers) + codes), max(1, numbers))
        self.count = numbers
        self.starts = np.searchsorted(self.rows, np.arange(len(counts) + 1))

    def set_aside(self, held_back: int, seed: int) -> NDArray[np.bool_]:
        """Of each picture whether it is set aside: chosen by ``seed``, until ``held_back`` rows show no other."""
        import numpy as np

        aside, missing = np.zeros(self.count, bool), np.diff(self.starts)
        order = np.argsort(self.pictures, kind="stable")
        begin = np.searchsorted(self.pictures, np.arange(self.count + 1), sorter=order)
        found, rows = 0, len(self.starts) - 1
        for row in Random(f"held back {seed}").sample(range(rows), rows):
            if found >= held_back:
                break
            for picture in self.pictures[self.starts[row] : self.starts[row + 1]]:
                if not aside[picture]:
                    aside[picture] = True
                    others = self.rows[order[begin[picture] : begin[picture + 1]]]
                    missing[others] -= 1
                    found += int((missing[others] == 0).sum())
        return aside
