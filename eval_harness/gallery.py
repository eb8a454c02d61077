"""The answers that a page shows: every sample with what each model said, or a seeded pick over what changed."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

RIGHT = 0.5  # a score of at least this counts as right (VQA accuracy is a share of annotators)


@dataclass(frozen=True)
class Answer:
    """What one model said, and its score."""

    text: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One question of a task with each model's answer; None where a model was not asked."""

    id: str
    task: str
    category: str
    question: str
    references: tuple[str, ...]
    answers: tuple[Answer | None, ...]

    @property
    def kind(self) -> str:
        """What a pick is even over: the change from the first to the last answer, or whether the only one is right."""
        given = [answer.score for answer in self.answers if answer]
        return change(given[0], given[-1]) if len(given) > 1 else side(given[0])


def side(score: float) -> str:
    """``right`` or ``wrong``."""
    return "right" if score >= RIGHT else "wrong"


def change(first: float, other: float) -> str:
    """``wrong-right``, ``right-wrong``, ``wrong-wrong`` or ``right-right``."""
    return f"{side(first)}-{side(other)}"


def samples_of(task: str, runs: Sequence[Iterable[Mapping[str, Any]] | None]) -> list[Sample]:
    """One sample an id from the rows of ``predictions.jsonl`` of each model (None: not asked), in order of first sight.

    Question and references are those of the first model that was asked.
    """
    asked: dict[Any, Mapping[str, Any]] = {}
    by_id: list[dict[Any, Answer]] = []
    for rows in runs:
        answers = {}
        for row in rows or ():
            asked.setdefault(row["id"], row)
            answers[row["id"]] = Answer(row["prediction"], row["score"])
        by_id.append(answers)
    return [
        Sample(
            id=str(key),
            task=task,
            category=row["category"],
            question=row["question"],
            references=tuple(row["references"]),
            answers=tuple(answers.get(key) for answers in by_id),
        )
        for key, row in asked.items()
    ]


def pick(samples: Iterable[Sample], n: int, seed: int = 0) -> list[Sample]:
    """``n`` samples, as even as possible over task × category × kind; all, in their order, where ``n`` suffices.

    Rare kinds are shown more often than they occur, so that mistakes can be looked at: the shares in a picked gallery
    are not scores.  The same samples and seed give the same pick.
    """
    samples = list(samples)
    if len(samples) <= n:
        return samples
    kinds: dict[tuple[str, str, str], list[Sample]] = defaultdict(list)
    for sample in samples:
        kinds[sample.task, sample.category, sample.kind].append(sample)
    chance = random.Random(seed)
    piles = [chance.sample(kinds[kind], len(kinds[kind])) for kind in sorted(kinds)]
    chosen: list[Sample] = []
    while len(chosen) < n and any(piles):
        chosen += [pile.pop() for pile in piles if pile][: n - len(chosen)]
    return chance.sample(chosen, len(chosen))
