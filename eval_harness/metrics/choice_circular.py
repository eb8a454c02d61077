"""MMBench's circular evaluation: a question counts as right only if it is right in all rotations of its options.

Sources: Liu et al., arXiv 2307.06281, section 4.2; github.com/open-compass/VLMEvalKit at commit e8e78f0,
vlmeval/dataset/utils/multiple_choice.py (`prefetch_circular_group`), without the language model it may ask.  The letter
is read as choice_lenient reads it.  The score of a row is that of its one rotation, so the mean of the scores is what
the source calls vanilla accuracy; the circular accuracy is a figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval_harness.figures import Figure, grouped, ratio
from eval_harness.metrics import choice_lenient

GROUPED = True


def score(prediction: str, references: Sequence[str], question: str = "") -> float:
    """1.0 where this rotation is answered right, else 0.0."""
    return choice_lenient.score(prediction, references, question)


def figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """``circular accuracy`` over questions, whose rotations have ids that agree up to the last slash; then positions.

    The mean over all rotations stands beside it: what the difference is made of.
    """
    right = [
        [score(row["prediction"], row["references"], row["question"]) for row in group]
        for group in grouped(rows).values()
    ]
    circular = ratio([(float(all(group)), 1) for group in right])
    each = ratio([(sum(group), len(group)) for group in right])
    found = {"circular accuracy": circular, "accuracy of the rotations": each}
    return found | {
        name.removeprefix("lenient: "): figure
        for name, figure in choice_lenient.figures(rows).items()
        if name != "lenient: accuracy"
    }
