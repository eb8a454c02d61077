"""VQA accuracy, the official metric of VQA v2 (and of OK-VQA, TextVQA and VizWiz) with its answer normalisation.

Source: github.com/GT-Vision-Lab/VQA, PythonEvaluationTools/vqaEvaluation/vqaEval.py at commit a013f00 (2021).  Scores
are equal to its own for every answer, its oddities included:

- prediction and references are normalised only where the annotators disagree: "Yes" against ten times "yes" is wrong;
- a contraction misses exactly one apostrophe, and "somebody'd" becomes "somebodyd";
- "none" is the number 0; of full stops at most 32 go (the script hands a flag to `sub` where its count belongs).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

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
_CONTRACTIONS = {form[:i] + form[i + 1 :]: form for form in _FORMS for i, sign in enumerate(form) if sign == "'"}
_CONTRACTIONS["somebody'd"] = "somebodyd"

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBER_WORDS = {"none": "0"} | {word: str(number) for number, word in enumerate(_NUMBERS)}
_ARTICLES = {"a", "an", "the"}
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"\.(?!\d)")  # the script's lookbehind is misspelt and always holds


def score(prediction: str, references: Sequence[str]) -> float:
    """Mean over the annotators of min(1, matches among the other annotators / 3), in [0, 1].

    ``references`` holds every annotator's answer, duplicates included: ten in VQA v2.  Raises MendableError where
    there are fewer than two, since none could ever match.
    """
    if len(references) < 2:
        raise MendableError(
            f"vqa_accuracy needs every annotator's answer, and a row has {len(references)}",
            "eval_harness/metrics/vqa_accuracy.py",
            "use exact_match for sets with one answer a question",
        )
    given, answer = [_one_line(reference) for reference in references], _one_line(prediction)
    if len(set(given)) > 1:
        given, answer = [normalise(reference) for reference in given], normalise(answer)
    matches = given.count(answer)
    # Leaving out an annotator who gave this very answer leaves one match fewer
    return sum(min(1.0, (matches - (reference == answer)) / 3) for reference in given) / len(given)


def normalise(answer: str) -> str:
    """Punctuation, case, number words, articles and contractions made alike, in the official order."""
    words = (_NUMBER_WORDS.get(word, word) for word in _without_punctuation(answer).lower().split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def _one_line(answer: str) -> str:
    return answer.replace("\n", " ").replace("\t", " ").strip()


def _without_punctuation(answer: str) -> str:
    """Beside a space, or where a number holds a comma, a sign goes without a trace; else it becomes a space."""
    number = _COMMA_IN_NUMBER.search(answer)
    result = answer
    for sign in _PUNCTUATION:
        alone = f"{sign} " in answer or f" {sign}" in answer
        result = result.replace(sign, "" if alone or number else " ")
    return _FULL_STOP.sub("", result, count=32)
