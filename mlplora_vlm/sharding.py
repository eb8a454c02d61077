"""Which process owns which rows of an adapter under DeepSpeed ZeRO, and the one sum over all owners."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor


def rank_and_world() -> tuple[int, int]:
    """This process's rank and the number of processes; (0, 1) outside a process group."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def owned_rows(numels: Sequence[int], local_numel: int, stage: int, rank: int, world: int) -> Tensor:
    """For each element of this process's flat slice, its row in P = vec([A; B]); -1 for the engine's padding.

    Stages 1 and 2 cut the zero-padded flat group into ``world`` contiguous slices; stage 3 cuts each tensor into
    slices of ceil(n / world); stage 0 cuts nothing.  Returns int64, shape (local_numel,).
    """
    if stage == 0:
        return torch.arange(sum(numels))
    if stage < 3:
        rows = torch.arange(rank * local_numel, (rank + 1) * local_numel)
        return torch.where(rows < sum(numels), rows, -1)
    slices, start = [], 0
    for n in numels:
        size = math.ceil(n / world)
        inside = torch.arange(rank * size, (rank + 1) * size)
        slices.append(torch.where(inside < n, inside + start, -1))
        start += n
    rows = torch.cat(slices)
    return torch.cat([rows, torch.full((local_numel - len(rows),), -1)])


def sum_over_processes(tensor: Tensor, stage: int) -> Tensor:
    """The sum of every process's share; at stage 0 each process holds everything, so its own value is the sum.

    The only communication that the generator adds: `hidden` floats a layer and step.
    """
    if stage == 0 or rank_and_world()[1] == 1:
        return tensor
    # NCCL reduces CUDA tensors only, while an offloaded generator lives on the host
    device = torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else tensor.device
    total = tensor.to(device)
    dist.all_reduce(total)
    return total.to(tensor.device)


def full_shape(parameter: Tensor) -> torch.Size:
    """The shape before ZeRO-3 partitioned the parameter."""
    return torch.Size(getattr(parameter, "ds_shape", parameter.shape))


@contextmanager
def whole(parameters: Iterable[Tensor]) -> Iterator[None]:
    """Inside, ZeRO-3 parameters are whole on every process, and what all processes write alike is kept."""
    partitioned = [p for p in parameters if hasattr(p, "ds_id")]
    if not partitioned:
        yield
        return
    import deepspeed

    with deepspeed.zero.GatheredParameters(partitioned, modifier_rank=0):
        yield
