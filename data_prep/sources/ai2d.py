"""AI2D (Kembhavi et al., ECCV 2016) from its official files: school questions about diagrams, with choices.

The folder holds what ``ai2d-all.zip`` has in its ``ai2d/`` (``images/0.png``, ``questions/0.png.json``,
``annotations/0.png.json`` and ``categories.json``) beside ``ai2d_test_ids.csv``, a diagram's number a line: those are
``test`` (3,088 questions), the others ``train``.  A question whose ``abcLabel`` is true is asked about the diagram with
letters in place of its labels: they are drawn here, as the annotation's ``replacementText`` says.  Other harnesses do
that with other fonts, or where they find it needed, so their pictures differ.  Names and nesting:
github.com/google-research/big_vision at commit 0127fb6, big_vision/datasets/ai2d/ai2d.py; the categories:
github.com/open-compass/VLMEvalKit at commit e8e78f0, scripts/AI2D_preproc.ipynb; the count:
huggingface.co/datasets/lmms-lab/ai2d.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from data_prep.confined import Pictures
from data_prep.example import Example
from data_prep.fields import field, texts
from data_prep.lettered import lettered
from data_prep.official import Official
from data_prep.records import Record
from data_prep.relabelled import Box, relabelled
from data_prep.rows import Row, RowError, each
from data_prep.sources import known_split

SPLITS = ("train", "test")
AI2D = Official("AI2D", "https://prior.allenai.org/projects/diagram-understanding")
ARCHIVE = "https://ai2-public-datasets.s3.amazonaws.com/diagrams/ai2d-all.zip"
TEST_IDS = "https://s3-us-east-2.amazonaws.com/prior-datasets/ai2d_test_ids.csv"


def check(split: str, folder: Path | None = None) -> None:
    """Raises MendableErrors naming each file or folder that is missing and where it comes from; opens none of them."""
    known_split("ai2d", split, SPLITS)
    folder = AI2D.given(folder)
    unpacked = ((folder / name, ARCHIVE) for name in ("images", "questions", "annotations", "categories.json"))
    AI2D.present([*unpacked, (folder / "ai2d_test_ids.csv", TEST_IDS)])


def rows(split: str, folder: Path | None = None) -> Iterator[Row]:
    """The split's questions by diagram, with their choices under letters; the answer is a letter.

    The category is the diagram's.  Raises MendableError for a missing or damaged file.
    """
    check(split, folder)
    folder = AI2D.given(folder)
    categories = dict(entry for _, entry in AI2D.entries(folder / "categories.json"))
    diagrams = _Diagrams(folder)

    def example(found: tuple[str, str, Any], where: str) -> Example:
        name, asked, row = found
        right = field(row, "correctAnswer", int, where)
        question, letter = lettered(asked, texts(row, "answerTexts", where), right, where)
        return Example(
            id=f"ai2d/{split}/{field(row, 'questionId', str, where)}",
            images=(diagrams(name, field(row, "abcLabel", bool, where), where),),
            question=question,
            answer=letter,
            references=(letter,),
            category=field(categories, name, str, where),
        )

    yield from each(_questions(folder, split), example)


def _questions(folder: Path, split: str) -> Iterator[Record]:
    """(where, (the diagram's name, the question, what the file says of it)), or the error of a file that is damaged."""
    listed = folder / "ai2d_test_ids.csv"
    test = set(listed.read_text("utf-8", errors="replace").split())
    files = sorted((folder / "questions").glob("*.json"), key=lambda path: (len(path.name), path.name))
    if not test or not files:
        raise AI2D.damaged(folder / "questions" if test else listed, ValueError("it holds no rows"))
    for path in files:
        if (path.name.partition(".")[0] in test) != (split == "test"):
            continue
        try:
            found = _json(path)
            name, questions = field(found, "imageName", str, str(path)), field(found, "questions", dict, str(path))
        except RowError as error:
            yield str(path), error
            continue
        for number, (asked, row) in enumerate(questions.items()):
            yield f"{path}, question {number}", (name, asked, row)


class _Diagrams:
    """A diagram as its file, or with letters for its labels; a diagram's questions follow each other."""

    def __init__(self, folder: Path) -> None:
        self._files, self._annotations = Pictures(folder / "images", f"unpack {ARCHIVE}"), folder / "annotations"
        self._last: tuple[Path, bytes] | None = None

    def __call__(self, name: str, letters: bool, where: str) -> Path | bytes:
        path = self._files(name, where)
        if not letters:
            return path
        if self._last is None or self._last[0] != path:
            self._last = path, relabelled(path, self._labels(self._annotations / f"{path.name}.json"))
        return self._last[1]

    def _labels(self, path: Path) -> list[tuple[Box, str]]:
        found = field(_json(path), "text", dict, str(path))
        return [(_box(label, str(path)), field(label, "replacementText", str, str(path))) for label in found.values()]


def _box(label: Any, where: str) -> Box:
    corners = field(label, "rectangle", list, where)
    try:
        (x, y), (other_x, other_y) = corners
        left, right = sorted((float(x), float(other_x)))
        top, bottom = sorted((float(y), float(other_y)))
    except (TypeError, ValueError) as error:
        what = f"a label's 'rectangle' is {corners!r:.80}, not two corners"
        raise RowError("wrong type", what, where) from error
    return left, top, right, bottom


def _json(path: Path) -> Any:
    """The file's value; raises RowError where it is none: the diagram's questions are lost, and no others."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RowError("broken line", f"{path.name} cannot be read ({error!s:.100})", str(path)) from error
