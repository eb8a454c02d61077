"""VQA accuracy of TextVQA, as its M4C evaluator computes it (LLaVA and lmms-eval carry the same code).

Source: github.com/facebookresearch/mmf at commit b0ffc7f, mmf/utils/m4c_evaluators.py (`TextVQAAccuracyEvaluator`).
Scores are equal to its own for every answer.  It differs from vqa_accuracy_always in what goes before the official
normalisation: lower case first, every comma and question mark gone ("1,000 t-shirts" keeps "t shirts" apart), and
"'s" taken off its word ("man's" is "man 's").  lmms-eval scores VizWiz in this way too.
"""

from __future__ import annotations

from collections.abc import Sequence

from eval_harness.metrics._vqa import annotated, leave_one_out, normalise, one_line


def score(prediction: str, references: Sequence[str]) -> float:
    """Mean over the annotators of min(1, matches among the other annotators / 3), in [0, 1]; as vqa_accuracy else."""
    annotated(references, "vqa_accuracy_m4c")
    return leave_one_out(_normal(prediction), [_normal(reference) for reference in references])


def _normal(answer: str) -> str:
    words = answer.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    return normalise(one_line(words))
