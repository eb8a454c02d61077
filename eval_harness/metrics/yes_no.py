"""Yes or no, read strictly: the answer is the word alone, in any case.

Source: github.com/EvolvingLMMs-Lab/lmms-eval at commit 75571cf, lmms_eval/tasks/pope/utils.py.  Scores, accuracy,
precision and recall are equal to its own: "Yes." is wrong, and an answer that is neither word counts neither for
precision nor for recall.  Two deviations: its yes ratio counts the right answers, ours the predictions, as POPE's own
script does (Li et al., arXiv 2305.10355); and a figure whose denominator is 0 does not exist here, where it says 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval_harness.figures import Figure
from eval_harness.metrics._yes_no import five_figures


def score(prediction: str, references: Sequence[str]) -> float:
    """1.0 where the prediction is the right word, else 0.0."""
    return float(read(prediction) in {read(reference) for reference in references})


def read(answer: str) -> str:
    """The answer in lower case, without spaces at its ends."""
    return answer.lower().strip()


def figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """accuracy, precision, recall, F1 and yes ratio."""
    return five_figures((read(row["prediction"]), read(row["references"][0])) for row in rows)
