"""A seeded sample of a task's rows."""

from __future__ import annotations

from collections import Counter
from random import Random

from data_prep.example import Example
from eval_harness.figures import group
from mlplora_vlm.errors import MendableError


def sample(
    rows: list[Example], limit: int, balance: bool, seed: int, grouped: bool = False
) -> tuple[list[Example], str | None]:
    """(the sample in the rows' order, a note that says what it is, or None where it is all rows).

    ``limit`` 0 means all.  Each category has its share of the sample, to the nearest row.  With ``balance`` each gives
    equally many rows: its part of ``limit``, but no more than the smallest category has.  ``grouped``: rows that belong
    together (see `figures.group`) are drawn together, and ``limit`` is kept about.  Raises MendableError where there
    are no rows, or fewer places than categories to balance.
    """
    if not rows:
        raise MendableError("there are no rows to evaluate", "eval.task", "check the task's data")
    if grouped:
        return _of_groups(rows, limit, balance, seed)
    sizes = Counter(row.category for row in rows)
    if balance:
        each = min(sizes.values())
        each = min(each, limit // len(sizes)) if limit else each
        if not each:
            raise MendableError(
                f"{limit} rows cannot hold equally many of {len(sizes)} categories", "eval.limit", "raise it"
            )
        wanted = dict.fromkeys(sizes, each)
    else:
        wanted = _shares(sizes, min(limit or len(rows), len(rows)))
    chosen: set[int] = set()
    for category, count in wanted.items():
        numbers = [number for number, row in enumerate(rows) if row.category == category]
        chosen.update(Random(f"{seed} {category}").sample(numbers, count))
    if len(chosen) == len(rows):
        return rows, None
    note = f"a sample of {len(chosen):,} of {len(rows):,} rows, seed {seed}"
    if len(sizes) > 1:
        note += f", {each:,} of each category" if balance else ", each category in its share"
    return [rows[number] for number in sorted(chosen)], note


def _of_groups(rows: list[Example], limit: int, balance: bool, seed: int) -> tuple[list[Example], str | None]:
    first: dict[str, Example] = {}
    for row in rows:
        first.setdefault(group(row.id), row)
    wanted = max(1, round(limit * len(first) / len(rows))) if limit else 0
    drawn, note = sample(list(first.values()), wanted, balance, seed)
    chosen = {group(row.id) for row in drawn}
    found = [row for row in rows if group(row.id) in chosen]
    return found, note and f"{len(found):,} of {len(rows):,} rows in whole groups: {note}"


def _shares(sizes: Counter[str], limit: int) -> dict[str, int]:
    """``limit`` dealt out by size: each share rounded down, the rest to those that lost most by it (Hamilton)."""
    total = sizes.total()
    shares = {name: limit * size // total for name, size in sizes.items()}
    lost = sorted(sizes, key=lambda name: (-(limit * sizes[name] % total), name))
    for name in lost[: limit - sum(shares.values())]:
        shares[name] += 1
    return shares
