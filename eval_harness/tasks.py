"""The evaluation tasks: rows, not functions."""

from __future__ import annotations

from dataclasses import dataclass


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
    prior_split: str
    """The training split that the answer prior is counted on."""
    version: int


TASKS = {
    "easy_vqa_test": Task("easy_vqa", "test", "short_answer", "exact_match", 8, "train", version=1),
    "shapes_test": Task("shapes", "test", "short_answer", "exact_match", 8, "train", version=1),
    "vqav2_val": Task("vqav2", "val", "short_answer", "vqa_accuracy", 16, "train", version=1),
}
