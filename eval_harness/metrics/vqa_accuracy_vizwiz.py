"""VQA accuracy of VizWiz, as its challenge's script computes it: the prediction is normalised, the references are not.

Source: the VizWiz API's vqaEval.py (vizwiz.org, visual question answering); a published copy is
github.com/TRI-ML/vlm-evaluation at commit d9f5896, vlm_eval/util/evaluation/vizwiz/eval.py.  Its oddities included:
most contractions of its table have a typographic apostrophe, so that "dont" becomes "don’t"; the copy has a backtick
in its place, and differs from us there.  lmms-eval normalises both sides, as vqa_accuracy_m4c does.
"""

from __future__ import annotations

from collections.abc import Sequence

from eval_harness.metrics._vqa import CONTRACTIONS, annotated, leave_one_out, normalise, one_line

_STRAIGHT = {"ain't", "aren't", "can't", "could've", "couldn't", "we've", "where's", "who've"}
_STRAIGHT_KEYS = {"couldn'tve", "hadn'tve"}
_CONTRACTIONS = {
    key if value in _STRAIGHT or key in _STRAIGHT_KEYS else key.replace("'", "’"): (
        value if value in _STRAIGHT else value.replace("'", "’")
    )
    for key, value in CONTRACTIONS.items()
}


def score(prediction: str, references: Sequence[str]) -> float:
    """Mean over the annotators of min(1, matches among the other annotators / 3), in [0, 1]; as vqa_accuracy else."""
    annotated(references, "vqa_accuracy_vizwiz")
    return leave_one_out(normalise(one_line(prediction), _CONTRACTIONS), references)
