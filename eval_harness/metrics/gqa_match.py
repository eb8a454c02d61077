"""GQA's comparison, as the field runs it: LLaVA's way of writing predictions, then the official script's equality.

Sources: GQA's eval.py, whose accuracy is plain equality (cs.stanford.edu/people/dorarad/gqa/evaluate.html; a published
copy is github.com/junayednaushad/Relation-Network-VQA at commit 64f6c6a, gqa/eval.py); github.com/haotian-liu/LLaVA at
commit c121f04, scripts/convert_gqa_for_eval.py, which takes full stops off a prediction's end and puts it in lower
case.  Scores are equal to theirs for every answer: spaces and every other sign count, and the reference is taken as it
is.
"""

from __future__ import annotations

from collections.abc import Sequence


def score(prediction: str, references: Sequence[str]) -> float:
    """1.0 where the prediction, in lower case and without full stops at its end, is one of the references, else 0.0."""
    return float(prediction.rstrip(".").lower() in references)
