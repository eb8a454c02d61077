"""Which answers the report shows: a seeded pick over categories and over what training changed."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

RIGHT = 0.5  # a score of at least this counts as right (VQA accuracy is a share of annotators)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One question with the answers before and after training."""

    id: str
    category: str
    question: str
    references: tuple[str, ...]
    before: str
    after: str
    before_score: float
    after_score: float

    @property
    def change(self) -> str:
        """``wrong-right``, ``right-wrong``, ``wrong-wrong`` or ``right-right``: before, then after training."""
        return "-".join("right" if score >= RIGHT else "wrong" for score in (self.before_score, self.after_score))


def pick(
    before_rows: Iterable[Mapping[str, Any]], after_rows: Iterable[Mapping[str, Any]], n: int = 24, seed: int = 0
) -> list[Pair]:
    """``n`` questions (or all there are) answered in both runs, as even as possible over category × change.

    The rows are those of ``predictions.jsonl``.  Rare kinds are shown more often than they occur, so that mistakes can
    be looked at: the shares in the gallery are not scores.  The same rows and seed give the same pick.
    """
    after = {row["id"]: row for row in after_rows}
    kinds: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for row in before_rows:
        if row["id"] in after:
            pair = _pair(row, after[row["id"]])
            kinds[pair.category, pair.change].append(pair)
    chance = random.Random(seed)
    piles = [chance.sample(kinds[kind], len(kinds[kind])) for kind in sorted(kinds)]
    chosen: list[Pair] = []
    while len(chosen) < n and any(piles):
        chosen += [pile.pop() for pile in piles if pile][: n - len(chosen)]
    return chance.sample(chosen, len(chosen))


def _pair(before: Mapping[str, Any], after: Mapping[str, Any]) -> Pair:
    return Pair(
        id=str(before["id"]),
        category=before["category"],
        question=before["question"],
        references=tuple(before["references"]),
        before=before["prediction"],
        after=after["prediction"],
        before_score=before["score"],
        after_score=after["score"],
    )
