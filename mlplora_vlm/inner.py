"""The optimizers that step a generator's tensors, and W2 kept in bfloat16."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mlplora_vlm.errors import MendableError

Inner = Callable[[Sequence[Tensor]], torch.optim.Optimizer]

SETTINGS = {"adamw": ("lr", "weight_decay", "betas", "eps"), "sgd": ("lr", "weight_decay", "momentum")}
"""What a param group may set, by optimizer."""


def inner_optimizer(optimizer: str, states: str) -> Inner:
    """Makes the inner optimizer of some tensors; its settings come with each step.

    ``optimizer``: adamw or sgd (torch's; SGD's weight decay is added to the gradient).  ``states``: float32, or 8bit
    and paged8bit for bitsandbytes' AdamW (paged: CUDA may move its moments to the host and back).
    Raises `MendableError` for a choice that does not exist.
    """
    if optimizer == "adamw" and states == "float32":
        return lambda tensors: torch.optim.AdamW(list(tensors), fused=True)
    if optimizer == "sgd" and states == "float32":
        return lambda tensors: torch.optim.SGD(list(tensors), lr=0.0)
    if optimizer == "adamw" and states in ("8bit", "paged8bit"):
        import bitsandbytes

        kind: Any = {"8bit": bitsandbytes.optim.AdamW8bit, "paged8bit": bitsandbytes.optim.PagedAdamW8bit}[states]
        return lambda tensors: kind(list(tensors))
    raise MendableError(
        f"there is no inner optimizer {optimizer!r} with states {states!r}",
        fix="adamw with float32, 8bit or paged8bit; or sgd with float32",
    )


def moments_fault(inner: torch.optim.Optimizer, moments: Mapping[str, Any], like: Tensor) -> str:
    """Why ``moments`` are not what ``inner`` keeps for a tensor like ``like``; empty where they are.

    torch's fused AdamW does not look: it would read beyond moments that are too short.
    """
    small, blocks = {"step", "state1", "state2"}, (-(-like.numel() // 256),)  # of bitsandbytes
    known: tuple[set[str], ...] = (small, small | {"qmap1", "qmap2", "absmax1", "absmax2"})
    if isinstance(inner, torch.optim.AdamW):
        known = ({"step", "exp_avg", "exp_avg_sq"},)
    elif isinstance(inner, torch.optim.SGD):
        known = ({"momentum_buffer"}, set())
    if set(moments) not in known:
        return f"it has {', '.join(sorted(moments)) or 'no moments'}, expected {', '.join(sorted(known[0]))}"
    shapes = {"step": (), "qmap1": (256,), "qmap2": (256,), "absmax1": blocks, "absmax2": blocks}
    for key, value in moments.items():
        codes = "qmap1" in moments and key in ("state1", "state2")
        made = value if isinstance(value, Tensor) else torch.tensor(value if isinstance(value, int | float) else [])
        shape = shapes.get(key, tuple(like.shape))
        if tuple(made.shape) != shape or (key != "step" and made.dtype != (torch.uint8 if codes else torch.float32)):
            return f"{key} has shape {tuple(made.shape)} and type {made.dtype}, expected {shape}"
        if not made.isfinite().all():
            return f"{key} is not finite"
    return ""


def stochastic_bfloat16(tensor: Tensor, seed: int) -> Tensor:
    """``tensor`` (float32, finite) in bfloat16, rounded up or down at random so that the expected value is exact.

    Rounding to the nearest would lose every step smaller than 2⁻⁹ of a weight.  The same seed rounds the same way.
    """
    random = torch.Generator(tensor.device).manual_seed(seed)
    count, limit = tensor.numel(), 2**63 - 1
    # one draw of 64 bits makes the noise of four numbers
    drawn = torch.randint(-limit, limit, (-(-count // 4),), dtype=torch.int64, device=tensor.device, generator=random)
    noise = drawn.view(torch.int16)[:count].view(tensor.shape).int().bitwise_and_(0xFFFF)
    return noise.add_(tensor.contiguous().view(torch.int32)).bitwise_and_(-(1 << 16)).view(torch.float32).bfloat16()
