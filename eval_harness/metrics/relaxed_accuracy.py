"""Relaxed accuracy, ChartQA's metric: numbers may be 5 % off, anything else must be equal but for case.

Sources: Masry et al., arXiv 2203.10244, section 5.1; github.com/google-research/pix2struct at commit 5b086ef,
pix2struct/metrics.py (`relaxed_correctness`), which the field's papers and harnesses use.  Scores are equal to its own
for every answer, its oddities included: "50%" is the number 0.5, and where the right answer is 0 the texts must be
equal.  Of several references the best counts.
"""

from __future__ import annotations

from collections.abc import Sequence

TOLERANCE = 0.05


def score(prediction: str, references: Sequence[str]) -> float:
    """1.0 where the prediction is right by one of the references, else 0.0."""
    return float(any(_right(prediction, reference) for reference in references))


def _right(prediction: str, reference: str) -> bool:
    given, wanted = _number(prediction), _number(reference)
    if given is not None and wanted:
        return abs(given - wanted) / abs(wanted) <= TOLERANCE
    return prediction.lower() == reference.lower()


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
