"""Which answer was given for which, for tasks with few distinct answers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval_harness.gallery import RIGHT

MOST_ANSWERS = 30
LEAST_EACH = 5  # samples for each distinct answer, on average: fewer say nothing about a set being closed
OTHER = "other"


@dataclass(frozen=True)
class Confusion:
    """Counts of given answers by reference."""

    answers: tuple[str, ...]
    """The distinct references, the most frequent first."""
    counts: tuple[tuple[int, ...], ...]
    """A row a reference, a column an answer, and a last one for `OTHER`."""


def closed_set(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The distinct references, the most frequent first; none where the rows' answers are no closed set.

    A set is closed where every row has one distinct reference (case and outer space aside), there are 2 to
    `MOST_ANSWERS` of them, and `LEAST_EACH` rows for each on average.
    """
    found: Counter[str] = Counter()
    for row in rows:
        own = {_plain(reference) for reference in row["references"]}
        if len(own) != 1:
            return ()
        found.update(own)
    closed = 2 <= len(found) <= MOST_ANSWERS and len(rows) >= LEAST_EACH * len(found)
    return tuple(sorted(found, key=lambda answer: (-found[answer], answer))) if closed else ()


def confusion(rows: Sequence[Mapping[str, Any]]) -> Confusion | None:
    """The table of rows of ``predictions.jsonl``; None where their answers are no closed set.

    What the metric scores as right (`RIGHT` or more) is counted as the reference, however it was worded: the diagonal
    holds exactly the right answers.  A wrong answer is counted where it, or its first word, is another reference.
    """
    answers = closed_set(rows)
    if not answers:
        return None
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        reference = _plain(row["references"][0])
        counts[reference][reference if row["score"] >= RIGHT else _read(row["prediction"], reference, answers)] += 1
    return Confusion(answers, tuple(tuple(counts[one][other] for other in (*answers, OTHER)) for one in answers))


def _read(prediction: str, reference: str, answers: Sequence[str]) -> str:
    text = _plain(prediction)
    for said in (text, text.rstrip("."), text.partition(" ")[0].strip(".,:;!()")):
        if said in answers and said != reference:
            return said
    return OTHER


def _plain(text: str) -> str:
    return text.strip().casefold()
