"""A seeded sample of a task's rows."""

from __future__ import annotations

from random import Random

from data_prep.example import Example
from mlplora_vlm.errors import MendableError


def sample(rows: list[Example], limit: int, balance: bool, seed: int) -> tuple[list[Example], str | None]:
    """(the sample in the rows' order, a note that says what it is, or None where it is all rows).

    ``limit`` 0 means all.  With ``balance`` each category gives equally many rows: its share of ``limit``, but no more
    than the smallest category has.  Raises MendableError where there are no rows, or fewer places than categories.
    """
    if not rows:
        raise MendableError("there are no rows to evaluate", "eval.task", "check the task's data")
    categories = sorted({row.category for row in rows})
    if balance:
        each = min(sum(row.category == category for row in rows) for category in categories)
        each = min(each, limit // len(categories)) if limit else each
        if not each:
            raise MendableError(
                f"{limit} rows cannot hold equally many of {len(categories)} categories", "eval.limit", "raise it"
            )
        chosen = set()
        for category in categories:
            numbers = [number for number, row in enumerate(rows) if row.category == category]
            chosen.update(Random(f"{seed} {category}").sample(numbers, each))
    else:
        chosen = set(Random(seed).sample(range(len(rows)), min(limit or len(rows), len(rows))))
    if len(chosen) == len(rows):
        return rows, None
    note = f"a sample of {len(chosen):,} of {len(rows):,} rows, seed {seed}"
    return [rows[number] for number in sorted(chosen)], note + (f", {each:,} of each category" if balance else "")
