"""ROUGE-L as COCO's caption evaluation has it: the longest common subsequence of words, an F-measure with beta 1.2.

Source: github.com/salaniz/pycocoevalcap at commit ad63453, rouge/rouge.py (Lin, 2004).  Scores are equal to its own on
the same words (see `_caption_words`), its oddities included: the best precision and the best recall are taken over the
references, each on its own, so they may come from two of them; and a caption without words is one empty word, which
another such caption shares.
"""

from __future__ import annotations

from collections.abc import Sequence

from eval_harness.metrics._caption_words import about, grouped_words

__all__ = ["about", "scores"]

BETA = 1.2


def scores(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """For each caption F of the best precision and the best recall over its references, in [0, 1]."""
    return [of_words(said, wanted) for said, wanted in zip(*grouped_words(predictions, references), strict=True)]


def of_words(caption: str, references: Sequence[str]) -> float:
    """The score of words that single spaces part."""
    said, wanted = caption.split(" "), [reference.split(" ") for reference in references]
    shared = [longest_common(said, words) for words in wanted]
    if not any(shared):
        return 0.0
    precision = max(shared) / len(said)
    recall = max(length / len(words) for length, words in zip(shared, wanted, strict=True))
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def longest_common(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest sequence of words that both hold in this order, with or without others between them."""
    above = [0] * (len(other) + 1)
    for word in one:
        here = [0]
        for column, beside in enumerate(other, start=1):
            here.append(above[column - 1] + 1 if word == beside else max(above[column], here[-1]))
        above = here
    return above[-1]
