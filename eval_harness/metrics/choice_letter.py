"""Accuracy of the option's letter, read strictly: the letter alone, or a capital letter with a full stop first.

Source: github.com/EvolvingLMMs-Lab/lmms-eval at commit 75571cf, lmms_eval/tasks/scienceqa/utils.py
(`sqa_process_results`), which reads ScienceQA's answers so.  Scores are equal to its own for every answer.  LLaVA's
script (eval_science_qa.py) also takes "The answer is B.", and no lower-case letter; lmms-eval's SEED-Bench looks at the
first sign alone: choice_lenient is for models that answer in sentences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval_harness.figures import Figure
from eval_harness.metrics._choices import positions


def score(prediction: str, references: Sequence[str]) -> float:
    """1.0 where the letter read out of the prediction is one of the references, else 0.0."""
    return float(letter(prediction) in {reference.strip().lower() for reference in references})


def letter(prediction: str) -> str:
    """The letter of "B", "b", "B." and "B. a dog", in lower case; what else there is stands for itself: no letter."""
    said = prediction.strip()
    return (said[0] if said[1:2] == "." and said[0].isupper() else said).lower()


def figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """Which letters are predicted, which are right, and the accuracy in each position."""
    read = [letter(row["prediction"]).upper() for row in rows]
    right = [row["references"][0].strip().upper() for row in rows]
    return positions([one if len(one) == 1 else "" for one in read], right)
