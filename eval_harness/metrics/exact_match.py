"""Exact match of short answers, for sets with one right answer a question.

Our own definition: both sides are lower-cased and stripped, and one full stop at the end is taken off, since models
write "Yes." where the set says "yes".  Nothing else: no articles, no number words.
"""

from __future__ import annotations

from collections.abc import Sequence


def score(prediction: str, references: Sequence[str]) -> float:
    """1.0 where the prediction equals one of the references, else 0.0."""
    return float(_normal(prediction) in {_normal(reference) for reference in references})


def _normal(answer: str) -> str:
    return answer.strip().lower().removesuffix(".").rstrip()
