"""Asks a model all that is not answered yet, in chunks that are kept as they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from data_prep.example import PICTURE
from data_prep.images import open_image
from data_prep.progress import progress_bar
from data_prep.prompts import PROMPTS
from data_prep.rows import Rejected, RowError
from eval_harness.answerer import Answerer
from eval_harness.asked import Asked
from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import digest

ABOUT_MODEL = ("template", "processor", "model")
"""Reasons that are the model's where all rows have them."""
CHUNK = 8
"""Batches in a chunk: so much is lost at most when the process is killed, and within it the longest go first."""


@dataclass(frozen=True)
class Counts:
    """What became of the rows: ``new`` and ``there`` are answered, ``errors`` by their reason are not."""

    new: int
    there: int
    errors: Counter[str]


def run_of(answerer: Answerer, prompt: str, max_new_tokens: int) -> str:
    """What all answers hang on beside the row: the model, and how it is asked; the batch size is not part of it."""
    return digest([answerer.digest, prompt, PROMPTS.get(prompt), max_new_tokens])[:16]


def predict(
    answerer: Answerer,
    asked: Sequence[Asked],
    prompt: str,
    max_new_tokens: int,
    batch_size: int,
    write: Callable[[list[dict[str, Any]]], None],
    there: Sequence[str] = (),
    progress: bool = True,
) -> Counts:
    """Hands each chunk's rows to ``write``: ``id``, ``question``, ``prediction`` or ``error``, ``model``, ``key``.

    Rows whose key is ``there`` are left out.  A row that cannot be asked (no picture, a picture that cannot be read,
    text that the model's template or server refuses) costs no other row its answer.  Raises what concerns all rows,
    such as a model that answers none of the first chunk (`check_answers`).
    """
    done = set(there)
    left = [one for one in asked if one.key not in done]
    errors, chunk = Counter[str](), batch_size * CHUNK
    bar = progress_bar(total=len(left), description=answerer.name, unit="answer", shown=progress)
    with bar:
        for start in range(0, len(left), chunk):
            part = left[start : start + chunk]
            found = _answered(answerer, part, prompt, max_new_tokens, batch_size)
            rows = [_row(one, answer, answerer) for one, answer in zip(part, found, strict=True)]
            errors.update(row["reason"] for row in rows if "error" in row)
            if not start and not done:
                check_answers(rows, answerer.name)
            write(rows)
            bar.update(len(part))
    return Counts(len(left) - errors.total(), len(asked) - len(left), errors)


def check_answers(rows: Sequence[dict[str, Any]], model: str) -> None:
    """Raise MendableError where the rows show that it is the model that cannot answer, and not a row.

    That is where each row that was asked has an error of `ABOUT_MODEL`, and where there are several, and all answers
    are empty.
    """
    asked = [row for row in rows if "prediction" in row or row["reason"] in ABOUT_MODEL]
    if asked and all("error" in row for row in asked):
        fix = "try --dtype float32; where that changes nothing, its files are damaged, or not of one model"
        raise MendableError(f"the model answers none of {len(asked)} rows: {asked[0]['error']}", model, fix)
    if len(asked) > 1 and all(row.get("prediction") == "" for row in asked):
        fix = "try --dtype float32 and one question; its files may be damaged, or not of one model"
        raise MendableError(f"the model answers nothing: all of {len(asked)} answers are empty", model, fix)


def _answered(
    answerer: Answerer, part: Sequence[Asked], prompt: str, max_new_tokens: int, batch_size: int
) -> list[str | Rejected]:
    """Each row's answer, or why it has none, in their order."""
    found: list[str | Rejected | None] = [_unusable(one) for one in part]

    def ask(places: Sequence[int]) -> None:
        examples = [row for place in places if not isinstance(row := part[place].row, Rejected)]
        for number, answer in answerer.answers(examples, prompt, max_new_tokens, batch_size, progress=False):
            found[places[number]] = answer

    def unanswered() -> list[int]:
        return [place for place, one in enumerate(found) if one is None]

    while places := unanswered():
        try:
            ask(places)
        except RowError as error:  # that row costs no other its answer
            places = unanswered()
            guilty = [place for place in places if error.where == f"row {part[place].id}"]
            if not guilty and len(places) > 1:
                _alone(ask, places, found)
            else:
                found[(guilty or places)[0]] = Rejected(error.where, error.reason, error.what)
    assert None not in found, "an answerer left a row out"
    return [answer for answer in found if answer is not None]


def _alone(ask: Callable[[Sequence[int]], None], places: Sequence[int], found: list[str | Rejected | None]) -> None:
    """Asks row by row, where an error does not say whose it is."""
    for place in places:
        try:
            ask([place])
        except RowError as error:
            found[place] = Rejected(error.where, error.reason, error.what)


def _unusable(one: Asked) -> str | Rejected | None:
    """Why the row cannot be asked, as far as it shows without the model."""
    if isinstance(one.row, Rejected):
        return one.row
    try:
        for picture in one.row.images:
            open_image(picture)
    except RowError as error:
        return Rejected(one.row.where, error.reason, error.what)
    return None


def _row(one: Asked, found: str | Rejected, answerer: Answerer) -> dict[str, Any]:
    row: dict[str, Any] = {"id": one.id}
    if not isinstance(one.row, Rejected):
        row["question"] = one.row.question.replace(PICTURE, "").strip()
    if isinstance(found, Rejected):
        row |= {"error": found.detail, "reason": found.reason, "where": found.where}
    else:
        row["prediction"] = found
    return row | {"model": answerer.name, "key": one.key}
