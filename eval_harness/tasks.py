"""The evaluation tasks: rows, not functions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data_prep.example import Example


@dataclass(frozen=True)
class Task:
    """What is asked, of which rows, and how answers are scored."""

    source: str
    """A module of data_prep/sources/."""
    split: str
    prompt: str
    """One of data_prep/prompts.py."""
    metric: str
    """A module of eval_harness/metrics/."""
    max_new_tokens: int
    prior_split: str | None
    """The training split that the answer prior is counted on; None: the set has none."""
    version: int
    """Raised with every change of what is asked or how it is scored: scores of two versions are not to be compared."""
    also: tuple[str, ...] = ()
    """Further metrics, which give figures beside the score."""
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What the source is asked with beside the split, such as a subset."""
    by_heart: bool = False
    """Asked about the rows that were trained on: it proves the chain, and is never a score."""


TASKS = {
    "chartqa_test": Task("chartqa", "test", "short_answer", "relaxed_accuracy", 16, "train", version=1),
    "coco_captions_val": Task("coco_captions", "val", "caption", "rouge_l", 64, "train", version=1),
    "docvqa_val": Task("docvqa", "val", "short_answer", "anls", 128, "train", version=1),
    "easy_vqa_test": Task("easy_vqa", "test", "short_answer", "exact_match", 8, "train", version=1),
    "shapes_sixteen": Task("shapes", "sixteen", "short_answer", "exact_match", 8, "sixteen", version=1, by_heart=True),
    "shapes_test": Task("shapes", "test", "short_answer", "exact_match", 8, "train", version=1),
    "stanford_cars_test": Task("stanford_cars", "test", "car_model", "exact_match", 32, "train", version=1),
    "vqav2_val": Task("vqav2", "val", "short_answer", "vqa_accuracy", 16, "train", version=1),
}


def task_examples(task: Task, folder: str | None, ids: Collection[str]) -> list[Example]:
    """The task's rows with these ids, in the source's order: result rows join their pictures again."""
    from data_prep.rows import strict
    from data_prep.sources import open_source

    rows = strict(open_source(task.source).rows(task.split, Path(folder) if folder else None))
    return [row for row in rows if row.id in ids]
