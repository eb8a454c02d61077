"""BLEU-1 to BLEU-4 of captions: shared word sequences over the whole corpus, with the nearest reference's length.

Sources: Papineni et al., ACL 2002; github.com/salaniz/pycocoevalcap at commit ad63453, bleu/bleu_scorer.py with its
option "closest".  Figures and scores are equal to its own on the same words (see `_caption_words`), its oddities
included: of two references equally near the shorter one counts, and 1e-15 and 1e-9 stand for zeros.  BLEU is no mean
of scores: the figures are what is published; a sample's score is its own BLEU-4.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eval_harness.figures import Figure
from eval_harness.metrics._caption_words import about, grouped_words

if TYPE_CHECKING:
    from eval_harness.figures import Numbers

__all__ = ["about", "figures", "scores"]

ORDERS = 4
_TINY, _SMALL = 1e-15, 1e-9


def scores(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """BLEU-4 of each caption alone, in [0, 1]."""
    return [float(one) for one in _bleu(_counts(predictions, references), ORDERS)] if predictions else []


def figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """BLEU-1 to BLEU-4 of the corpus."""
    counts = _counts([row["prediction"] for row in rows], [row["references"] for row in rows])
    return {f"BLEU-{order}": Figure(counts, _of_order(order)) for order in range(1, ORDERS + 1)}


def _of_order(order: int) -> Any:
    return lambda sums: _bleu(sums, order)


def _counts(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Numbers:
    """(captions, 10): sequences of 1 to 4 words that are right, those there are, the length and the reference's."""
    import numpy as np

    rows = []
    for said, wanted in zip(*grouped_words(predictions, references), strict=True):
        words, others = said.split(), [text.split() for text in wanted]
        most: Counter[tuple[str, ...]] = Counter()
        for other in others:
            most |= sequences(other)
        right = [0] * ORDERS
        for sequence, times in sequences(words).items():
            right[len(sequence) - 1] += min(times, most[sequence])
        nearest = min((abs(len(other) - len(words)), len(other)) for other in others)[1]
        there = [max(0, len(words) - order) for order in range(ORDERS)]
        rows.append([*right, *there, len(words), nearest])
    return np.array(rows, dtype=np.float64).reshape(-1, 2 * ORDERS + 2)


def sequences(words: Sequence[str]) -> Counter[tuple[str, ...]]:
    """How often each sequence of 1 to 4 words occurs."""
    return Counter(
        tuple(words[start : start + length])
        for length in range(1, ORDERS + 1)
        for start in range(len(words) - length + 1)
    )


def _bleu(sums: Numbers, order: int) -> Numbers:
    import numpy as np

    right, there = sums[..., :order], sums[..., ORDERS : ORDERS + order]
    precision = np.prod((right + _TINY) / (there + _SMALL), axis=-1) ** (1 / order)
    ratio = (sums[..., -2] + _TINY) / (sums[..., -1] + _SMALL)
    return precision * np.exp(np.minimum(0.0, 1 - 1 / ratio))
