"""MME's scores: accuracy and accuracy+ of its fourteen subtasks, and what perception and cognition add up to.

Sources: Fu et al., arXiv 2306.13394, section 2.2; github.com/BradyFU/Awesome-Multimodal-Large-Language-Models, branch
Evaluation at commit dd29509, tools/eval_tool.zip, calculation.py.  Scores and totals are equal to its own for every
answer, its oddity included: an answer is the first of "yes" and "no" that its first four signs hold, so "None" is "no".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eval_harness.figures import Figure, divided, grouped, ratio
from eval_harness.metrics._yes_no import NO, YES

if TYPE_CHECKING:
    from eval_harness.figures import Numbers

PERCEPTION = (
    "existence",
    "count",
    "position",
    "color",
    "posters",
    "celebrity",
    "scene",
    "landmark",
    "artwork",
    "OCR",
)
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")
QUESTIONS = 2  # about each picture
GROUPED = True


def score(prediction: str, references: Sequence[str]) -> float:
    """1.0 where the prediction says what is right, else 0.0."""
    return float(read(prediction) in {reference.strip().lower() for reference in references})


def read(answer: str) -> str:
    """What the answer says: "yes", "no" or "other"."""
    start = answer.lower()[:4]
    return YES if YES in start else NO if NO in start else "other"


def figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """Per subtask (a row's category) accuracy and accuracy+; then the totals, 100 points for each of the two.

    Accuracy+ is the share of pictures with both questions right; a picture of which a sample holds one question counts
    for accuracy alone.  A total of which a sample lacks subtasks says so in its name.  Drawn are pictures.
    """
    pictures: dict[str, list[tuple[float, float, float, float]]] = {}
    for group in grouped(rows).values():
        right = [score(row["prediction"], row["references"]) for row in group]
        whole = len(group) == QUESTIONS
        counts = (sum(right), len(right), float(whole and all(right)), float(whole))
        pictures.setdefault(group[0]["category"], []).append(counts)
    found: dict[str, Figure] = {}
    for name in [*PERCEPTION, *COGNITION]:
        if name in pictures:
            found[f"{name} accuracy"] = ratio([counts[:2] for counts in pictures[name]])
            found[f"{name} accuracy+"] = ratio([counts[2:] for counts in pictures[name]])
    for total, names in (("perception", PERCEPTION), ("cognition", COGNITION)):
        there = [name for name in names if name in pictures]
        if there:
            said = total if len(there) == len(names) else f"{total}, {len(there)} of {len(names)} subtasks"
            found[said] = _total([pictures[name] for name in there])
    return found


def _total(subtasks: Sequence[Sequence[tuple[float, ...]]]) -> Figure:
    import numpy as np

    counts = np.zeros((sum(map(len, subtasks)), len(subtasks), 4))
    start = 0
    for number, pictures in enumerate(subtasks):
        counts[start : start + len(pictures), number] = pictures
        start += len(pictures)

    def points(sums: Numbers) -> Numbers:
        each = sums.reshape(*sums.shape[:-1], len(subtasks), 4)
        return 100 * (divided(each[..., 0], each[..., 1]) + divided(each[..., 2], each[..., 3])).sum(-1)

    return Figure(counts.reshape(len(counts), -1), points, share=False)
