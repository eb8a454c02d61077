"""Yes or no, read out of an answer's first sentence: "no" where it holds the word "no", "No" or "not", else "yes".

Sources: github.com/AoiDragon/POPE at commit 08d957b, evaluate.py; github.com/haotian-liu/LLaVA at commit c121f04,
llava/eval/eval_pope.py, which reads in the same way.  Scores and figures are equal to theirs for every answer, their
oddities included: the first sentence ends at the first full stop, wherever it stands; words are what single spaces
part, without commas; "NO" and "No!" are "yes", and so is an empty answer.  One deviation: a figure whose denominator is
0 does not exist here, where the scripts stop with an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval_harness.figures import Figure
from eval_harness.metrics._yes_no import NO, YES, five_figures


def score(prediction: str, references: Sequence[str]) -> float:
    """1.0 where the prediction says what is right, else 0.0."""
    return float(read(prediction) in {_right(reference) for reference in references})


def read(answer: str) -> str:
    """What the answer says: "yes" or "no"."""
    words = answer.split(".")[0].replace(",", "").split(" ")
    return NO if {"No", "not", "no"} & set(words) else YES


def figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """accuracy, precision, recall, F1 and yes ratio."""
    pairs = ((read(row["prediction"]), _right(row["references"][0])) for row in rows)
    return five_figures(pairs, prefix="first sentence: ")


def _right(reference: str) -> str:
    return reference.lower().strip()
