"""The training data: a source's rows as a map-style data set of examples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class DataSection:
    """Where the training examples come from, and how they are asked."""

    source: str
    """A module of data_prep/sources/."""
    split: str = "train"
    """The source's split."""
    folder: str | None = None
    """The folder with the source's files, where it does not bring its own."""
    limit: int = 0
    """Use this many rows, chosen by seed; 0: all."""
    prompt: str = "short_answer"
    """One of data_prep/prompts.py."""
    max_length: int = 2048
    """Rows with more tokens (pictures included) are left out and counted; nothing is ever cut."""

    def problems(self) -> Iterator[tuple[str, str, str]]:
        """(key, what is wrong, how to mend) for every value that cannot work."""
        if self.limit < 0:
            yield "limit", "limit must not be negative", "0 means all rows"
        if self.max_length < 8:
            yield "max_length", "max_length leaves no room for a question", "2048 is usual"
