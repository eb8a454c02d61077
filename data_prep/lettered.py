"""A question with its choices under letters, as LLaVA-1.5 and lmms-eval ask it; the prompt option_letter goes with it.

Sources of the form: github.com/haotian-liu/LLaVA at commit c121f04, docs/Evaluation.md; github.com/EvolvingLMMs-Lab/
lmms-eval at commit 75571cf, lmms_eval/tasks/{ai2d,scienceqa,seedbench}/utils.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase

from data_prep.rows import RowError


def lettered(question: str, choices: Sequence[str], right: int, where: str) -> tuple[str, str]:
    """(the question with each choice on a line of its own, the letter of choice number ``right``, counted from 0).

    Raises RowError, naming ``where``, where there is no such choice, or more of them than letters.
    """
    if not 0 <= right < len(choices) <= len(ascii_uppercase):
        raise RowError("no annotation", f"the answer is number {right} of {len(choices)} choices, from 0", where)
    lines = [f"{letter}. {choice}" for letter, choice in zip(ascii_uppercase, choices, strict=False)]
    return "\n".join([question, *lines]), ascii_uppercase[right]


def letter_number(letter: str, where: str) -> int:
    """The choice's number, counted from 0; raises RowError where it is no letter."""
    if len(letter) != 1 or letter not in ascii_uppercase:
        raise RowError("no annotation", f"the answer is {letter!r:.80}, no letter of a choice", where)
    return ascii_uppercase.index(letter)
