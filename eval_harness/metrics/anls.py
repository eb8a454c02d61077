"""ANLS, the official metric of DocVQA: how little of an answer has to be changed, and 0 where it is more than half.

Sources: Biten et al., arXiv 1907.00490, eq. 1; the challenge's script (rrc.cvc.uab.es, ch=17, InfographicVQA
evaluation; a copy is github.com/QwenLM/Qwen-VL at commit e6bbb9d, eval_mm/infographicsvqa_eval.py).  Scores are equal
to its own for every answer, its oddity included: the distance is that of the answers in lower case with single spaces,
but it is divided by the longer one's length as it was given.
"""

from __future__ import annotations

from collections.abc import Sequence

THRESHOLD = 0.5


def score(prediction: str, references: Sequence[str]) -> float:
    """1 - normalised Levenshtein distance to the nearest reference, or 0.0 where that is below `THRESHOLD`."""
    best = max(_similarity(prediction, reference) for reference in references)
    return best if best >= THRESHOLD else 0.0


def _similarity(prediction: str, reference: str) -> float:
    length = max(len(prediction.upper()), len(reference.upper()))  # upper(): "ß" counts twice, as in the script
    if not length:
        return 1.0
    said, wanted = _normal(prediction), _normal(reference)
    if 1 - abs(len(said) - len(wanted)) / length < THRESHOLD:  # the distance is no smaller: spares long wrong answers
        return 0.0
    return 1 - levenshtein(said, wanted) / length


def levenshtein(one: str, other: str) -> int:
    """The smallest number of signs to put in, take out or exchange that makes one text the other.

    A column of the table of distances at a time, as bits of whole numbers (Myers, JACM 46, 1999, as Hyyrö, 2003, has
    it): a data set's long answers take a second, where cell by cell they take minutes.
    """
    if not one:
        return len(other)
    places: dict[str, int] = {}
    for place, sign in enumerate(one):
        places[sign] = places.get(sign, 0) | 1 << place
    every, last = (1 << len(one)) - 1, 1 << (len(one) - 1)
    more, less, distance = every, 0, len(one)  # where the distance is one more, or one less, than in the row above
    for sign in other:
        same = places.get(sign, 0)
        diagonal = (((same & more) + more ^ more) | same | less) & every  # where it is that of the place up and left
        right_more = less | every & ~(diagonal | more)
        right_less = more & diagonal
        distance += bool(right_more & last) - bool(right_less & last)
        right_more, right_less = (right_more << 1 | 1) & every, right_less << 1 & every
        more, less = right_less | every & ~(diagonal | right_more), right_more & diagonal
    return distance


def _normal(answer: str) -> str:
    return " ".join(answer.lower().split())
