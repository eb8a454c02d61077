"""The ``eval:`` section of a recipe: what is measured before and after training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from data_prep.section import SourceSection
from data_prep.sources import OPTIONS
from eval_harness.tasks import TASKS, Task, known_task
from mlplora_vlm.errors import seed_problems

OWN = "own"
"""The name of the recipe's own task."""


@dataclass(frozen=True)
class OwnTask(SourceSection):
    """A task of one's own: rows of any source, asked and scored as any task's."""

    metric: str = "exact_match"
    """A module of eval_harness/metrics/."""
    also: tuple[str, ...] = ()
    """Further metrics, shown beside it."""
    max_new_tokens: int = 16
    """Answers end there at the latest."""
    prior_split: str | None = None
    """The split that the answer prior is counted on; null: that control is left out."""

    def problems(self) -> Iterator[tuple[str, str, str]]:
        """(key, what is wrong, how to mend) for every value that cannot work."""
        if self.max_new_tokens < 1:
            yield "max_new_tokens", "an answer needs at least one token", "16 is usual for short answers"
        for key, value, plain in (("epochs", self.epochs, 1.0), ("weight", self.weight, 0.0), ("limit", self.limit, 0)):
            if value != plain:
                yield key, f"{key} is about training rows", "leave it out; eval.limit draws a sample"

    def task(self) -> Task:
        """The task that it is."""
        given = {key: getattr(self, key) for key in OPTIONS}
        return Task(
            self.source,
            self.split,
            self.prompt,
            self.metric,
            self.max_new_tokens,
            self.prior_split,
            version=1,
            also=self.also,
            options={key: value for key, value in given.items() if value},
        )


@dataclass(frozen=True)
class EvalSection:
    """What is measured before and after training."""

    task: str
    """One of eval_harness/tasks.py, or own: the one described under `own`."""
    own: OwnTask | None = None
    """A task of your own: source, folder, prompt, metric …"""
    folder: str | None = None
    """The folder with the task's files, where its source does not bring its own."""
    limit: int = 1000
    """Seeded sample of this many rows, each category in its share; 0: all."""
    balance: bool = False
    """True: the sample holds equally many rows of each category."""
    batch_size: int = 32
    """Questions answered at once; changes no answer, and is halved where memory is too small."""
    controls: tuple[Literal["blank", "shuffled", "prior"], ...] = ("blank", "shuffled", "prior")
    """Answering blank pictures, other rows' pictures, and from the training answers alone."""
    judge: str | None = None
    """The category whose score must prove that the model looks: its lower bound above every control's upper bound."""
    seed: int = 0
    """Seeds the sample, the shuffling and the bootstrap."""

    def problems(self) -> Iterator[tuple[str, str, str]]:
        """(key, what is wrong, how to mend) for every value that cannot work."""
        if self.limit < 0:
            yield "limit", "limit must not be negative", "0 means all rows"
        yield from seed_problems(self.seed)
        if self.batch_size < 1:
            yield "batch_size", "batch_size must be at least 1", "32 is usual"
        if self.judge and not self.controls:
            yield "judge", "without controls there is nothing to judge against", "name at least one control"
        if (self.task == OWN) != (self.own is not None):
            yield "own", "eval.task=own and the keys of eval.own go together", "give both, or neither"

    def chosen(self) -> Task:
        """The task; raises MendableError for an unknown name."""
        if self.task == OWN and self.own is not None:
            return self.own.task()
        return known_task(self.task)

    def rows_of(self, split: str) -> SourceSection:
        """Where the task's rows of a split are read."""
        own = self.own.folder if self.own else None
        return self.chosen().rows_of(split, own or self.folder)


TASK_NAMES = (*TASKS, OWN)
"""What ``eval.task`` may name."""
