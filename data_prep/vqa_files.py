"""The two files of VQA's form, which VQAv2 and OK-VQA have: questions, and every annotator's answers, joined by id.

Names and nesting: visualqa.org/download.html.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from sys import intern
from typing import Any, ClassVar

from data_prep.confined import Pictures
from data_prep.example import Example
from data_prep.fields import field, texts
from data_prep.official import Official
from data_prep.rows import Row, RowError, each
from data_prep.sources import known_split

PICTURES_SITE = "http://images.cocodataset.org/zips/"


@dataclass(frozen=True)
class VqaFiles:
    """A source of this form; its module's ``check`` and ``rows`` are this one's."""

    splits: ClassVar[tuple[str, ...]] = ("train", "val")
    source: str
    official: Official
    questions: str
    """The questions' file, ``{split}`` in place of train or val."""
    annotations: str
    """The answers' file, likewise."""
    keys: tuple[str, ...]
    """What of an annotation ``answer`` and ``category`` read, beside its answers."""
    answer: Callable[[dict[str, Any], str], str]
    """(annotation, where) → what is taught; the annotation's ``answers`` are their texts alone."""
    category: Callable[[dict[str, Any], str], str]

    def check(self, split: str, folder: Path | None = None) -> None:
        """Raises MendableErrors naming each file or folder that is missing and its origin; opens none of them."""
        known_split(self.source, split, self.splits)
        folder, page = self.official.given(folder), self.official.page
        pictures = (folder / f"{split}2014", f"{PICTURES_SITE}{split}2014.zip")
        self.official.present([*((folder / name, page) for name in self._names(split)), pictures])

    def rows(self, split: str, folder: Path | None = None) -> Iterator[Row]:
        """The split's questions in the file's order; references are the ten answers as given: VQA accuracy counts them.

        Raises MendableError for a missing or damaged file.
        """
        self.check(split, folder)
        folder = self.official.given(folder)
        pictures = Pictures(folder / f"{split}2014", f"unpack {PICTURES_SITE}{split}2014.zip into {folder}")
        asked, answered = (folder / name for name in self._names(split))
        annotations = {
            row["question_id"]: self._used(row)
            for _, row in self.official.rows(answered, "annotations")
            if isinstance(row, dict) and type(row.get("question_id")) is int  # the question of any other then has none
        }

        def example(row: Any, where: str) -> Example:
            question_id = field(row, "question_id", int, where)
            if (annotation := annotations.get(question_id)) is None:
                raise RowError("no annotation", f"question {question_id} has no annotation in {answered.name}", where)
            image_id = field(row, "image_id", int, where)
            return Example(
                id=f"{self.source}/{split}/{question_id}",
                images=(pictures(f"COCO_{split}2014_{image_id:012d}.jpg", where),),
                question=field(row, "question", str, where),
                references=texts(annotation, "answers", where),
                answer=self.answer(annotation, where),
                category=self.category(annotation, where),
            )

        yield from each(self.official.rows(asked, "questions"), example)

    def _names(self, split: str) -> tuple[str, str]:
        return self.questions.format(split=split), self.annotations.format(split=split)

    def _used(self, annotation: dict[str, Any]) -> dict[str, Any]:
        """What rows are made of: of the ``answers`` their texts, each kept once for all of VQAv2's 4,437,570."""
        kept: dict[str, Any] = {key: annotation[key] for key in (*self.keys, "answers") if key in annotation}
        if isinstance(given := kept.get("answers"), list):
            answers = [each.get("answer") if isinstance(each, dict) else None for each in given]
            kept["answers"] = [intern(answer) if isinstance(answer, str) else answer for answer in answers]
        return kept
