"""Which process owns which rows of a layer under DeepSpeed ZeRO or FSDP2, and the one sum over all owners."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from mlplora_vlm.errors import MendableError


@dataclass(frozen=True)
class Share:
    """This process's part of a layer's P (all of its tensors, laid end to end)."""

    places: Callable[[], Tensor]
    """Makes `rows`: they are asked for at the start and at each checkpoint, and would be as large as the adapter."""
    group: Any = None
    """The process group whose members' rows make P together; None: this process holds all of them."""

    @property
    def rows(self) -> Tensor:
        """For each number that this process holds, its place in P; -1 for an engine's padding.  int64, (numbers,)."""
        return self.places()

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all owners, on ``tensor``'s device.

        The only communication that the generator adds: `hidden` floats a layer and step.
        """
        if self.group is None or dist.get_world_size(self.group) == 1:
            return tensor
        # NCCL reduces CUDA tensors only, while an offloaded generator lives on the host
        nccl = "nccl" in dist.get_backend(self.group)
        total = tensor.to(torch.device("cuda", torch.cuda.current_device()) if nccl else tensor.device, copy=True)
        dist.all_reduce(total, group=self.group)
        return total.to(tensor.device)


def share_of(params: Sequence[Tensor], numels: Sequence[int], stage: int) -> Share:
    """This process's share of a layer whose tensors have ``numels`` numbers, as the engine handed over ``params``."""
    if any(_is_dtensor(p) for p in params):
        return _fsdp_share(params, numels)
    rank, world = rank_and_world()
    local = sum(p.numel() for p in params)
    group = dist.group.WORLD if stage and world > 1 else None
    return Share(partial(owned_rows, tuple(numels), local, stage, rank, world), group)


def rank_and_world() -> tuple[int, int]:
    """This process's rank and the number of processes; (0, 1) outside a process group."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def owned_rows(numels: Sequence[int], local_numel: int, stage: int, rank: int, world: int) -> Tensor:
    """For each element of this process's flat slice under ZeRO, its row in P; -1 for the engine's padding.

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
    if len(rows) != local_numel:
        raise MendableError(
            f"the engine handed over {local_numel} elements of a group where this process owns {len(rows)}",
            "zero_optimization.sub_group_size",
            "make it larger than any group of tensors: a group is stepped as a whole",
        )
    return rows


def _fsdp_share(params: Sequence[Any], numels: Sequence[int]) -> Share:
    """FSDP2 cuts each tensor along its first dimension, over one dimension of its mesh."""
    from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

    ranges, start, group = [], 0, None
    for param, n in zip(params, numels, strict=True):
        cut = [(d, p) for d, p in enumerate(param.placements) if not p.is_replicate()]
        if len(cut) != 1 or not cut[0][1].is_shard(0):
            raise MendableError(
                f"an adapter's tensor is laid out as {param.placements}; only sharding along dimension 0 is known",
                fix="use fully_shard with one mesh dimension (and replicate along others)",
            )
        group = param.device_mesh.get_group(cut[0][0])
        shape, offset = compute_local_shape_and_global_offset(param.shape, param.device_mesh, param.placements)
        row = math.prod(param.shape[1:])
        first = start + offset[0] * row
        ranges.append((first, first + math.prod(shape)))
        start += n
    return Share(lambda: torch.cat([torch.arange(*one) for one in ranges]), group)


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor that FSDP2 may have cut; writing into it writes into the tensor."""
    return tensor.to_local() if _is_dtensor(tensor) else tensor  # type: ignore[attr-defined]


def fill(parameter: Tensor, tensor: Tensor) -> None:
    """Writes a whole tensor into a parameter of which FSDP2 may have given this process a part (ZeRO-3: see `whole`).

    ``tensor`` may have any shape with the parameter's number of elements.
    """
    mine = local(parameter)
    if mine is not parameter:
        tensor = tensor.flatten()[_fsdp_share([parameter], [tensor.numel()]).rows]
    mine.copy_(tensor.view_as(mine))


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


def _is_dtensor(tensor: Tensor) -> bool:
    return hasattr(tensor, "placements") and hasattr(tensor, "to_local")
