"""The training data: a source's rows as a map-style data set of examples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from mlplora_vlm.errors import MendableError

if TYPE_CHECKING:
    from data_prep.example import Example


@dataclass(frozen=True)
class DataSection:
    """Where the training examples come from, and how they are asked."""

    source: str
    """A module of data_prep/sources/."""
    split: str = "train"
    """The source's split."""
    folder: str | None = None
    """The folder with the source's files, where it does not bring its own."""
    limit: int = 0
    """Use this many rows, chosen by seed; 0: all."""
    prompt: str = "short_answer"
    """One of data_prep/prompts.py."""
    max_length: int = 2048
    """Rows with more tokens (pictures included) are left out and counted; nothing is ever cut."""

    def problems(self) -> Iterator[tuple[str, str, str]]:
        """(key, what is wrong, how to mend) for every value that cannot work."""
        if self.limit < 0:
            yield "limit", "limit must not be negative", "0 means all rows"
        if self.max_length < 8:
            yield "max_length", "max_length leaves no room for a question", "2048 is usual"


def load_examples(settings: DataSection, seed: int = 0, held_back: int = 0) -> tuple[list[Example], list[Example]]:
    """(training, held-back) examples of the section's source, in the source's order; lists are map-style data sets.

    Of ``held_back`` rows the pictures are shown to no training row: whole pictures are set aside, chosen by ``seed``,
    and rows of theirs that are not needed are dropped.  ``settings.limit`` is counted after that, so training gets
    exactly that many rows. Pictures stay unopened.  Raises MendableError where fewer rows are there than asked for.
    """
    from data_prep.sources import open_source

    source = open_source(settings.source)
    folder = Path(settings.folder) if settings.folder else None
    source.check(settings.split, folder)
    return split_rows(list(source.rows(settings.split, folder)), settings, seed, held_back)


def split_rows(
    rows: list[Example], settings: DataSection, seed: int = 0, held_back: int = 0
) -> tuple[list[Example], list[Example]]:
    """`load_examples` for rows that are read already."""
    where = f"source {settings.source!r}, split {settings.split!r}"
    aside = _pictures_set_aside(rows, seed, held_back) if held_back else set()
    training = [row for row in rows if aside.isdisjoint(_pictures(row))]
    evaluation = [row for row in rows if aside.issuperset(_pictures(row))]
    if len(training) < max(1, settings.limit):
        raise MendableError(
            f"{len(training)} training rows are left ({held_back} held back), not {settings.limit or 1} or more",
            where,
            "lower data.limit" if settings.limit else "lower train.eval_rows",
        )
    if len(evaluation) < held_back:
        raise MendableError(f"{len(evaluation)} rows can be held back, not {held_back}", where, "lower train.eval_rows")
    return _drawn(training, settings.limit, seed), _drawn(evaluation, held_back, seed) if held_back else []


def _pictures_set_aside(rows: list[Example], seed: int, held_back: int) -> set[Hashable]:
    """Pictures, chosen by ``seed``, that at least ``held_back`` rows show with no other picture (or all there are)."""
    rows_about: dict[Hashable, list[int]] = defaultdict(list)
    missing = []  # of each row, how many of its pictures are not aside yet
    for number, row in enumerate(rows):
        pictures = set(_pictures(row))
        missing.append(len(pictures))
        for picture in pictures:
            rows_about[picture].append(number)
    aside: set[Hashable] = set()
    found = 0
    for number in Random(f"held back {seed}").sample(range(len(rows)), len(rows)):
        if found >= held_back:
            break
        for picture in set(_pictures(rows[number])) - aside:
            aside.add(picture)
            for other in rows_about[picture]:
                missing[other] -= 1
                found += not missing[other]
    return aside


def _pictures(row: Example) -> list[Hashable]:
    """What tells pictures apart: the path, or the object in memory; a row without pictures stands for itself."""
    return [picture if isinstance(picture, Path) else id(picture) for picture in row.images] or [row.id]


def _drawn(rows: list[Example], count: int, seed: int) -> list[Example]:
    """``count`` rows (0: all), chosen by ``seed``, in their old order."""
    if not count:
        return rows
    return [rows[number] for number in sorted(Random(seed).sample(range(len(rows)), count))]
