"""The order of a training pass in which rows of about the same length stand together: less padding."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices


class LengthGroupedSampler(Sampler[int]):
    """Row numbers, shuffled, then sorted by length within `get_length_grouped_indices`'s stretches of 50 steps.

    ``rows_a_step`` are those of an optimizer step over all processes and micro-batches: a step then lies within one
    sorted stretch, and no process waits for another's longer rows.  The order depends on ``seed`` and the epoch alone.
    The Trainer's own sampler of this kind draws from torch's global generator, whose state at an epoch's begin no
    checkpoint has: resumed in the second epoch, it would show rows twice and skip others.
    """

    def __init__(self, lengths: Sequence[int], rows_a_step: int, seed: int) -> None:
        self.lengths: list[int] = torch.as_tensor(lengths).tolist()
        self.rows_a_step, self.seed, self.epoch = rows_a_step, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """What the next pass is shuffled by; accelerate and the Trainer call it."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        mixed = hashlib.sha256(f"{self.seed} {self.epoch}".encode()).digest()  # a sum would join seeds' epochs
        generator = torch.Generator().manual_seed(int.from_bytes(mixed[:8]))
        return iter(get_length_grouped_indices(self.lengths, self.rows_a_step, generator=generator))
