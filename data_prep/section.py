"""The ``data:`` section of a recipe: which sources the training examples come from, and what becomes of bad rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Literal

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TAKEN = ("prepared.json", "rejects.jsonl", "report.html", "report.json")
"""Files beside the sources' folders."""


@dataclass(frozen=True)
class SourceSection:
    """One source: its files, how its rows are asked, and its share of the mixture."""

    source: str
    """A module of data_prep/sources/; python -m recipes sniff FOLDER proposes one for your files."""
    split: str = "train"
    """The source's split."""
    folder: str | None = None
    """The folder with the source's files, where it does not bring its own."""
    file: str | None = None
    """The file in the folder that holds the rows, where the folder holds several."""
    pictures: str | None = None
    """The folder that the rows' picture paths start from, where it is not `folder`."""
    columns: dict[str, str] = field(default_factory=dict, hash=False)
    """For tables: which of their columns is our image, question, answer, references, category or id."""
    repo: str | None = None
    """A data set's name on the hub, for the source hub."""
    config: str | None = None
    """Which of the hub data set's configurations."""
    streaming: bool = False
    """Read the hub's rows as they arrive; with `limit`, the rest is never downloaded."""
    urls: bool = False
    """Fetch pictures that rows name by URL; such rows are left out otherwise."""
    prompt: str = "short_answer"
    """One of data_prep/prompts.py."""
    limit: int = 0
    """Use this many rows, chosen by seed; 0: all."""
    epochs: float = 1.0
    """How often each row is seen in a pass over the mixture; 0.5: every second row, chosen by seed."""
    weight: float = 0.0
    """In place of `epochs`: this source's share among all that have a weight; together they give as many examples as
    they have rows."""

    def problems(self) -> Iterator[tuple[str, str, str]]:
        """(key, what is wrong, how to mend) for every value that cannot work."""
        if self.limit < 0:
            yield "limit", "limit must not be negative", "0 means all rows"
        if self.epochs <= 0:
            yield "epochs", "epochs must be above 0", "1 shows every row once; leave out a source that is not wanted"
        if self.weight < 0:
            yield "weight", "weight must not be negative", "0 means no weight: epochs counts"
        if self.weight and self.epochs != 1.0:
            yield "weight", "a source has a weight or epochs, not both", "leave one of them out"


@dataclass(frozen=True)
class DataSection(SourceSection):
    """Where the training examples come from, and how they are checked and batched."""

    mixed_with: dict[str, SourceSection] = field(default_factory=dict, hash=False)
    """Further sources by a name of your choice, each with the keys above."""
    max_length: int = 2048
    """Tokens that a row may have, pictures included; nothing is ever cut."""
    too_long: Literal["drop", "shrink", "fail"] = "drop"
    """Longer rows are left out and counted, have their pictures made smaller until they fit, or end the run."""
    control_tokens: Literal["refuse", "escape"] = "refuse"
    """Text that would be read as a control token: its row is left out, or a space is put into it."""
    max_reject_rate: float = 0.01
    """The run ends where a larger share of a source's rows is left out."""
    embed_pictures: bool = False
    """Copy the picture files into the prepared set: one large file in place of many small ones."""
    group_by_length: bool = False
    """Batches of rows of about the same length: less padding."""
    workers: int = 0
    """Processes that check the rows; 0: one a core."""

    def problems(self) -> Iterator[tuple[str, str, str]]:
        """(key, what is wrong, how to mend) for every value that cannot work."""
        yield from super().problems()
        if self.max_length < 8:
            yield "max_length", "max_length leaves no room for a question", "2048 is usual"
        if not 0 <= self.max_reject_rate <= 1:
            yield "max_reject_rate", "max_reject_rate is a share in [0, 1]", "0.01 is usual; 1 never ends a run"
        if self.workers < 0:
            yield "workers", "workers must not be negative", "0 means one a core"
        for name in self.mixed_with:
            if name == self.source or name in _TAKEN or not _NAME.fullmatch(name):
                taken = "is the first source's own" if name == self.source else "is a file's in the prepared set"
                what = taken if _NAME.fullmatch(name) else "cannot be part of a folder's name"
                yield "mixed_with", f"{name!r} {what}", "choose another of letters, digits, '.', '_' and '-'"

    def sources(self) -> dict[str, SourceSection]:
        """Every source by its name; the section's own is called after its source."""
        own = {each.name: getattr(self, each.name) for each in fields(SourceSection)}
        return {self.source: SourceSection(**own), **self.mixed_with}
