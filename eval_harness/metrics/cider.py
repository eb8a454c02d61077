"""CIDEr-D of captions, 0 to 10: likeness of word sequences, each weighed by how few pictures' references hold it.

Sources: Vedantam et al., arXiv 1411.5726, section 4 and the D variant; github.com/salaniz/pycocoevalcap at commit
ad63453, cider/cider_scorer.py.  Scores are equal to its own on the same words (see `_caption_words`), its oddity
included: the penalty on lengths compares numbers of word pairs.  A sample's score hangs on all samples, whose
references the weights are counted on: scores of a part of a set are not those of the set, and one sample alone gets 0.
Papers print the mean times 100.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from math import exp, log, sqrt

from eval_harness.metrics._caption_words import about, grouped_words
from eval_harness.metrics.bleu import ORDERS, sequences

__all__ = ["about", "scores"]

_SIGMA = 6.0
_Weights = list[dict[tuple[str, ...], float]]


def scores(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """Each caption's CIDEr-D: ten times the mean over references and lengths 1 to 4 of the clipped cosines."""
    said, wanted = grouped_words(predictions, references)
    counted = [[sequences(text.split()) for text in texts] for texts in wanted]
    held = Counter(sequence for counts in counted for sequence in {one for count in counts for one in count})
    found = []
    for caption, counts in zip(said, counted, strict=True):
        mine = _weighed(sequences(caption.split()), held, len(said))
        each = [_likeness(mine, _weighed(count, held, len(said))) for count in counts]
        found.append(10 * sum(each) / (ORDERS * len(each)))
    return found


def _weighed(counts: Counter[tuple[str, ...]], held: Counter[tuple[str, ...]], pictures: int) -> tuple[_Weights, int]:
    """By length of sequence, each sequence's times × log(pictures / pictures that hold it); and the number of pairs."""
    weights: _Weights = [{} for _ in range(ORDERS)]
    for sequence, times in counts.items():
        weights[len(sequence) - 1][sequence] = times * (log(pictures) - log(max(1, held[sequence])))
    return weights, sum(times for sequence, times in counts.items() if len(sequence) == 2)


def _likeness(mine: tuple[_Weights, int], other: tuple[_Weights, int]) -> float:
    """Sum over lengths of the cosines, each of my weights clipped to the reference's, times the penalty on lengths."""
    total = 0.0
    for weights, wanted in zip(mine[0], other[0], strict=True):
        shared = sum(min(weight, wanted[one]) * wanted[one] for one, weight in weights.items() if one in wanted)
        norms = sqrt(_square(weights.values())) * sqrt(_square(wanted.values()))
        total += shared / norms if norms else shared
    return total * exp(-((mine[1] - other[1]) ** 2) / (2 * _SIGMA**2))


def _square(weights: Iterable[float]) -> float:
    return sum(weight * weight for weight in weights)
