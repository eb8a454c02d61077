"""VQA accuracy, the official metric of VQA v2 (and of OK-VQA), with its answer normalisation.

Source: github.com/GT-Vision-Lab/VQA at commit a013f00, PythonEvaluationTools/vqaEvaluation/vqaEval.py.  Scores are
equal to its own for every answer, its oddities included: prediction and references are normalised only where the
annotators disagree ("Yes" against ten times "yes" is wrong); `_vqa` names the others.  TextVQA's own script normalises
otherwise (vqa_accuracy_m4c), and so does VizWiz's (vqa_accuracy_vizwiz).
"""

from __future__ import annotations

from collections.abc import Sequence

from eval_harness.metrics._vqa import annotated, leave_one_out, normalise, one_line


def score(prediction: str, references: Sequence[str]) -> float:
    """Mean over the annotators of min(1, matches among the other annotators / 3), in [0, 1].

    ``references`` holds every annotator's answer, duplicates included: ten in VQA v2.  Raises MendableError where
    there are fewer than two, since none could ever match.
    """
    annotated(references, "vqa_accuracy")
    given, answer = [one_line(reference) for reference in references], one_line(prediction)
    if len(set(given)) > 1:
        given, answer = [normalise(reference) for reference in given], normalise(answer)
    return leave_one_out(answer, given)
