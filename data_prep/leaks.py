"""Pictures of the evaluation that are also trained on: a score on them is not a score on unseen pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.example import Example
from data_prep.images import inspect
from data_prep.rows import RowError

if TYPE_CHECKING:
    from datasets import Dataset


def leaks(training: Mapping[str, Dataset], evaluation: Iterable[Example]) -> list[dict[str, str]]:
    """One ``{digest, train, evaluation}`` a picture that both show, with the first row of either.

    Pictures are compared by their decoded pixels, so a copy in another file or container is found, and one that was
    scaled or compressed anew is not.  Memory grows with the evaluation's pictures alone.
    """
    seen: dict[str, str] = {}
    digests: dict[Path, str] = {}
    for row in evaluation:
        for image in row.images:
            try:
                if not isinstance(image, Path):
                    digest = inspect(image).digest
                elif (known := digests.get(image)) is None:
                    digest = digests[image] = inspect(image).digest
                else:
                    digest = known
            except RowError:  # the evaluation itself says so
                continue
            seen.setdefault(digest, row.id)
    found: dict[str, str] = {}
    for part in training.values():
        for record in part.select_columns(["id", "digests"]):
            for digest in set(record["digests"]) & seen.keys():
                found.setdefault(digest, record["id"])
    return [{"digest": digest, "train": row, "evaluation": seen[digest]} for digest, row in found.items()]
