"""What the variants of VQA accuracy share: the official answer normalisation, and leaving each annotator out in turn.

Source: github.com/GT-Vision-Lab/VQA at commit a013f00, PythonEvaluationTools/vqaEvaluation/vqaEval.py, its oddities
included:

- a contraction misses exactly one apostrophe, and "somebody'd" becomes "somebodyd";
- "none" is the number 0; of full stops at most 32 go (the script hands a flag to `sub` where its count belongs).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from mlplora_vlm.errors import MendableError

_FORMS = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd
he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've
needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've
somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've something'll
that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've
weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll
why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're you've
""".split()  # noqa: SIM905 - ninety strings in a list would fill a page
CONTRACTIONS = {form[:i] + form[i + 1 :]: form for form in _FORMS for i, sign in enumerate(form) if sign == "'"}
CONTRACTIONS["somebody'd"] = "somebodyd"
"""A word that misses an apostrophe, and what it becomes."""

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBER_WORDS = {"none": "0"} | {word: str(number) for number, word in enumerate(_NUMBERS)}
_ARTICLES = {"a", "an", "the"}
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"\.(?!\d)")  # the script's lookbehind is misspelt and always holds


def annotated(references: Sequence[str], metric: str) -> None:
    """Raises MendableError where there are fewer than two annotators: none could ever match."""
    if len(references) < 2:
        raise MendableError(
            f"{metric} needs every annotator's answer, and a row has {len(references)}",
            f"eval_harness/metrics/{metric}.py",
            "use exact_match for sets with one answer a question",
        )


def leave_one_out(answer: str, given: Sequence[str]) -> float:
    """Mean over the annotators of min(1, matches among the other annotators / 3), in [0, 1]."""
    matches = given.count(answer)
    # Leaving out an annotator who gave this very answer leaves one match fewer
    return sum(min(1.0, (matches - (reference == answer)) / 3) for reference in given) / len(given)


def one_line(answer: str) -> str:
    """The answer without line breaks, tabs, and spaces at its ends."""
    return answer.replace("\n", " ").replace("\t", " ").strip()


def normalise(answer: str, contractions: Mapping[str, str] = CONTRACTIONS) -> str:
    """Punctuation, case, number words, articles and contractions made alike, in the official order."""
    words = (_NUMBER_WORDS.get(word, word) for word in _without_punctuation(answer).lower().split())
    return " ".join(contractions.get(word, word) for word in words if word not in _ARTICLES)


def _without_punctuation(answer: str) -> str:
    """Beside a space, or where a number holds a comma, a sign goes without a trace; else it becomes a space."""
    number = _COMMA_IN_NUMBER.search(answer)
    result = answer
    for sign in _PUNCTUATION:
        alone = f"{sign} " in answer or f" {sign}" in answer
        result = result.replace(sign, "" if alone or number else " ")
    return _FULL_STOP.sub("", result, count=32)
