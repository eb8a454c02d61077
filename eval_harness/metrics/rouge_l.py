"""ROUGE-L as COCO's caption evaluation has it: the longest common subsequence of words, an F-measure with beta 1.2.

Source: github.com/tylin/coco-caption at commit bfd1596, pycocoevalcap/rouge/rouge.py (Lin, 2004).  On the same words
the scores are its own, its oddity included: the best precision and the best recall are taken over the references, each
on its own, so they may come from two of them.  One deviation: words are runs of letters, digits and apostrophes inside
a word, in lower case, and all other signs go, where the original calls Stanford's PTB tokeniser (Java).  It differs on
clitics ("man's" is one word here and two there), so scores are near to published ones, and not to be put beside them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

BETA = 1.2
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


def score(prediction: str, references: Sequence[str]) -> float:
    """F of the best precision and the best recall over the references, in [0, 1]; 0.0 where no word is shared."""
    said, wanted = words(prediction), [words(reference) for reference in references]
    shared = [longest_common(said, reference) for reference in wanted]
    if not any(shared):
        return 0.0
    precision = max(shared) / len(said)
    recall = max(length / len(reference) for length, reference in zip(shared, wanted, strict=True) if reference)
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def words(text: str) -> list[str]:
    """The text's words in lower case, without punctuation."""
    return _WORD.findall(text.lower())


def longest_common(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest sequence of words that both hold in this order, with or without others between them."""
    above = [0] * (len(other) + 1)
    for word in one:
        here = [0]
        for column, beside in enumerate(other, start=1):
            here.append(above[column - 1] + 1 if word == beside else max(above[column], here[-1]))
        above = here
    return above[-1]
