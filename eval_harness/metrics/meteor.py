"""METEOR of captions, from the matches of words, stems, synonyms and paraphrases that its program finds (1.5, Java).

Sources: Denkowski and Lavie, WMT 2014, section 2, with its English parameters; github.com/salaniz/pycocoevalcap at
commit ad63453, meteor/meteor.py, which asks the program in the same way.  Scores and the corpus figure are equal to
its own.  The corpus figure is no mean of scores: it is what matches, lengths and chunks of all captions add up to.
Without Java there is no METEOR.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from eval_harness.figures import Figure, divided
from eval_harness.metrics._caption_words import about, grouped_words, jars, java_is_there, run_java

if TYPE_CHECKING:
    from eval_harness.figures import Numbers

__all__ = ["about", "figures", "missing", "scores"]

ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
_WEIGHTS = (1.0, 0.6, 0.8, 0.6)  # exact, stem, synonym, paraphrase
_COLUMNS = 23


def missing() -> str | None:
    """What is not there and would be needed."""
    return None if java_is_there() else "METEOR needs Java and pycocoevalcap"


def scores(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """Each caption's METEOR against its best reference, in [0, 1]."""
    return [float(one) for one in _meteor(_counts(predictions, references))] if predictions else []


def figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """METEOR of the corpus."""
    counts = _counts([row["prediction"] for row in rows], [row["references"] for row in rows])
    return {"METEOR": Figure(counts, _meteor)}


def _counts(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Numbers:
    """(captions, 23), the program's own: lengths and function words of both sides; for each kind of match content and
    function words of both sides; chunks, and the matched words of both sides."""
    import numpy as np

    said, wanted = grouped_words(predictions, references)
    lines = [f"SCORE ||| {' ||| '.join(texts)} ||| {_plain(text)}" for text, texts in zip(said, wanted, strict=True)]
    counts = np.array(_by_program(tuple(lines)), dtype=np.float64).reshape(-1, _COLUMNS)
    length, wanted_length, chunks, matched, wanted_matched = counts.T[[0, 1, 20, 21, 22]]
    whole = (matched == length) & (wanted_matched == wanted_length) & (chunks == 1)
    counts[whole, 20] = 0  # nothing is out of order in a caption that is its reference
    return counts


@lru_cache(maxsize=2)  # the scores and the figure ask for the same captions
def _by_program(lines: tuple[str, ...]) -> tuple[tuple[float, ...], ...]:
    program = ["-Xmx2G", "-jar", "meteor-1.5.jar", "-", "-", "-stdio", "-l", "en", "-norm"]
    found = run_java(program, "".join(f"{line}\n" for line in lines), jars() / "meteor") if lines else []
    counts = tuple(tuple(float(number) for number in line.split()) for line in found if line)
    assert len(counts) == len(lines), f"{len(lines)} captions came back as {len(counts)}"
    return counts


def _plain(text: str) -> str:
    return text.replace("|||", "").replace("  ", " ")


def _meteor(sums: Numbers) -> Numbers:
    """(1 - penalty) × F of weighed precision and recall; 0 where nothing matches."""
    import numpy as np

    weights = np.array(_WEIGHTS)
    length, wanted, functions, wanted_functions = (sums[..., column] for column in range(4))
    matches = sums[..., 4:20].reshape(*sums.shape[:-1], 4, 4)
    content, wanted_content, function, wanted_function = ((matches[..., kind] * weights).sum(-1) for kind in range(4))
    chunks, matched, wanted_matched = (sums[..., column] for column in range(20, 23))

    def share(content: Numbers, function: Numbers, length: Numbers, functions: Numbers) -> Numbers:
        below = DELTA * (length - functions) + (1 - DELTA) * functions
        return np.nan_to_num(divided(DELTA * content + (1 - DELTA) * function, below))

    precision = share(content, function, length, functions)
    recall = share(wanted_content, wanted_function, wanted, wanted_functions)
    f = np.nan_to_num(divided(precision * recall, ALPHA * precision + (1 - ALPHA) * recall))
    fragments = np.nan_to_num(divided(chunks, (matched + wanted_matched) / 2))
    return f * (1 - GAMMA * fragments**BETA)
