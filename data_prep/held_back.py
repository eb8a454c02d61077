"""Which rows are trained on, and which are held back to measure the loss on: they share no picture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from random import Random

from mlplora_vlm.errors import MendableError


def split_rows(pictures: Sequence[Sequence[str]], held_back: int, seed: int) -> tuple[list[int], list[int]]:
    """(numbers of the training rows, of the held-back rows), both rising; ``pictures`` are each row's, by any key.

    Of the held-back rows the pictures are shown to no training row: whole pictures are set aside, chosen by ``seed``,
    and rows of theirs that are not needed are in neither list.  A row without pictures stands for itself.
    Raises MendableError where so many rows cannot be held back.
    """
    keys = [set(shown) or {f"row {number}"} for number, shown in enumerate(pictures)]
    aside = _pictures_set_aside(keys, held_back, seed) if held_back else set()
    training = [number for number, shown in enumerate(keys) if aside.isdisjoint(shown)]
    evaluation = [number for number, shown in enumerate(keys) if aside.issuperset(shown)]
    if len(evaluation) < held_back:
        what = f"{len(evaluation)} rows can be held back, not {held_back}"
        raise MendableError(what, "train.eval_rows", "lower train.eval_rows")
    return training, drawn(evaluation, held_back, seed) if held_back else []


def drawn(rows: Sequence[int], count: int, seed: int) -> list[int]:
    """``count`` of the rows (0: all), chosen by ``seed``, in their old order."""
    if not count:
        return list(rows)
    return [rows[number] for number in sorted(Random(seed).sample(range(len(rows)), count))]


def _pictures_set_aside(keys: list[set[str]], held_back: int, seed: int) -> set[str]:
    """Pictures, chosen by ``seed``, that at least ``held_back`` rows show with no other picture (or all there are)."""
    rows_about: dict[str, list[int]] = defaultdict(list)
    missing = []  # of each row, how many of its pictures are not aside yet
    for number, shown in enumerate(keys):
        missing.append(len(shown))
        for picture in shown:
            rows_about[picture].append(number)
    aside: set[str] = set()
    found = 0
    for number in Random(f"held back {seed}").sample(range(len(keys)), len(keys)):
        if found >= held_back:
            break
        for picture in keys[number] - aside:
            aside.add(picture)
            for other in rows_about[picture]:
                missing[other] -= 1
                found += not missing[other]
    return aside
