"""VQA accuracy with prediction and references normalised always, as lmms-eval scores VQA v2.

Source: github.com/EvolvingLMMs-Lab/lmms-eval at commit 75571cf, lmms_eval/tasks/vqav2/utils.py; the normalisation is
the official one.  One deviation: two commas in a row inside a number ("1,,000") are a number's comma to lmms-eval and
not to the official script, which we follow.  TextVQA's script takes signs away before it normalises (vqa_accuracy_m4c).
"""

from __future__ import annotations

from collections.abc import Sequence

from eval_harness.metrics._vqa import annotated, leave_one_out, normalise, one_line


def score(prediction: str, references: Sequence[str]) -> float:
    """As vqa_accuracy, but that ten annotators who agree are normalised too: "Yes" against ten times "yes" is right."""
    annotated(references, "vqa_accuracy_always")
    return leave_one_out(normalise(one_line(prediction)), [normalise(one_line(text)) for text in references])
