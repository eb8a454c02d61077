"""What a run holds on each GPU and on the host, by kind, from the architecture alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class HardwareSection:
    """The machine a preset is made for."""

    gpus: int = 0
    """CUDA devices in all; 0: the CPU."""
    memory_gib: float = 0.0
    """Memory of one GPU (or of the host, where gpus is 0), in GiB; 0: not stated."""

    def problems(self) -> Iterator[tuple[str, str, str]]:
        """(key, what is wrong, how to mend) for every value that cannot work."""
        if self.gpus < 0:
            yield "gpus", "gpus must not be negative", "0 means the CPU"
        if self.memory_gib < 0:
            yield "memory_gib", "memory_gib must not be negative", "0 means not stated"
