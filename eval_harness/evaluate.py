"""Runs a task on a model: answers, scores with intervals, and the controls that show whether the model looks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class EvalSection:
    """What is measured before and after training."""

    task: str
    """One of eval_harness/tasks.py."""
    folder: str | None = None
    """The folder with the task's files, where its source does not bring its own."""
    limit: int = 1000
    """Seeded sample of this many rows; 0: all."""
    balance: bool = False
    """True: the sample holds equally many rows of each category."""
    batch_size: int = 32
    """Questions answered at once; changes no answer."""
    controls: tuple[Literal["blank", "shuffled", "prior"], ...] = ("blank", "shuffled", "prior")
    """Answering blank pictures, other rows' pictures, and from the training answers alone."""
    judge: str | None = None
    """The category whose accuracy must prove that the model looks: its lower bound above every control's upper bound."""
    seed: int = 0
    """Seeds the sample, the shuffling and the bootstrap."""

    def problems(self) -> Iterator[tuple[str, str, str]]:
        """(key, what is wrong, how to mend) for every value that cannot work."""
        if self.limit < 0:
            yield "limit", "limit must not be negative", "0 means all rows"
        if self.batch_size < 1:
            yield "batch_size", "batch_size must be at least 1", "32 is usual"
        if self.judge and not self.controls:
            yield "judge", "without controls there is nothing to judge against", "name at least one control"
