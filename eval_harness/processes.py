"""One evaluation by several processes, as torchrun starts them: who answers what, and waiting for each other."""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import timedelta

WAIT = timedelta(days=7)  # the shares are not equally long


@dataclass(frozen=True)
class Processes:
    """This process among all of them."""

    rank: int = 0
    world: int = 1

    @classmethod
    def here(cls) -> Processes:
        """What torchrun says of this process; alone where it says nothing."""
        return cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))

    @property
    def first(self) -> bool:
        """Whether this process writes what there is one of."""
        return self.rank == 0

    def wait(self) -> None:
        """Returns when every process has come here."""
        if self.world > 1:
            from torch import distributed

            if not distributed.is_initialized():
                distributed.init_process_group("gloo", timeout=WAIT)
            distributed.barrier()

    def share(self, pictures: Sequence[tuple[Hashable, ...]]) -> list[int]:
        """The numbers of the rows that this process answers: all questions about the same pictures are one process's.

        The groups are dealt out in turn, so the shares are of about the same size, and not of the same one.
        """
        groups: dict[Hashable, int] = {}
        found = []
        for number, shown in enumerate(pictures):
            name: Hashable = shown or ("text alone", number)
            if groups.setdefault(name, len(groups)) % self.world == self.rank:
                found.append(number)
        return found
