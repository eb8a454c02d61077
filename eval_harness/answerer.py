"""Whoever answers: a model in this process, or one behind an endpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from data_prep.example import Example


class Answerer(Protocol):
    """Answers examples; evaluation, prediction and chat ask nothing else of a model."""

    name: str
    """What people call it: a folder's name, a model's name at an endpoint."""
    digest: str
    """Changes with whatever its answers may change with, but for the batch size."""

    def answers(
        self,
        examples: Sequence[Example],
        prompt: str,
        max_new_tokens: int,
        batch_size: int,
        description: str = "answering",
        progress: bool = True,
    ) -> Iterator[tuple[int, str]]:
        """(the example's place in ``examples``, its answer), each once, as soon as it is there, in whatever order."""
        ...

    def prompt(self, example: Example, prompt: str) -> str:
        """What is sent for an example, as text, for people to read."""
        ...

    def describe(self) -> dict[str, Any]:
        """What result.json says of it."""
        ...
