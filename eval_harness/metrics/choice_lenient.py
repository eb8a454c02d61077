"""Accuracy of the option's letter, read out of a sentence, or out of the option's own words.

Source: github.com/open-compass/VLMEvalKit at commit e8e78f0, vlmeval/utils/matching_util.py (`can_infer`): what
MMBench's official tool does before it asks a language model; no model is asked here, as with its ``exact_matching``.
On a question that lists its options, scores are equal to its own for every answer.  In this order:

1. signs such as brackets and full stops become spaces; where exactly one of the options' letters is a word of the
   answer, and its first place is among the last four words, it is that letter;
2. "answer is B", in any case, also "**B**", for the letters A to D;
3. the one option whose text, in any case, is part of the answer, if that is at most twice as long as all options.

So "A dog runs" is the letter A, as in the source.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from eval_harness.figures import Figure, mean
from eval_harness.metrics._choices import options, positions

_WITHOUT_OPTIONS = dict.fromkeys("ABCDE", "")
_SIGNS = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_ANSWER_IS = re.compile(r"answer\s+is\s+\**([ABCD])\**", re.IGNORECASE)
_NOT_ANSWERED = "Failed to obtain answer via API"
_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)


def score(prediction: str, references: Sequence[str], question: str = "") -> float:
    """1.0 where the letter read out of the prediction is one of the references, else 0.0.

    A ``question`` that lists no options is taken to have the letters A to E, and no texts.
    """
    return float(letter(prediction, options(question)) in {reference.strip().upper() for reference in references})


def letter(prediction: str, choices: Mapping[str, str]) -> str:
    """The letter that the prediction chooses of ``choices`` (texts by letter); "" where it cannot be told."""
    by_letter = _by_letter(prediction, choices or _WITHOUT_OPTIONS)
    return _by_text(prediction, choices) if by_letter is None else by_letter


def figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """The accuracy, which letters are predicted, which are right, and the accuracy in each position."""
    read = [letter(row["prediction"], options(row["question"])) for row in rows]
    right = [row["references"][0].strip().upper() for row in rows]
    scores = [score(row["prediction"], row["references"], row["question"]) for row in rows]
    return {"lenient: accuracy": mean(scores)} | positions(read, right, prefix="lenient: ")


def _by_letter(said: str, choices: Mapping[str, str]) -> str | None:
    """The letter, "" for a refusal, None where the option's text has to tell."""
    if _NOT_ANSWERED in said:
        return None
    if any(refusal in said for refusal in _REFUSALS):
        return ""
    words = said.translate(_SIGNS).split()
    named = [one for one in choices if one in words]
    if len(named) == 1 and words.index(named[0]) > len(words) - 5:
        return named[0]
    if not named and "Z" in words:  # what the source lets its language model say for "none of them"
        return ""
    match = _ANSWER_IS.search(said)
    return match[1].upper() if match and match[1].upper() in choices else None


def _by_text(said: str, choices: Mapping[str, str]) -> str:
    if len(said.lower()) > 2 * sum(map(len, choices.values())):
        return ""
    named = [one for one, text in choices.items() if text.lower() in said.lower()]
    return named[0] if len(named) == 1 else ""
