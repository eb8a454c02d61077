"""The compact generator and its two controls: a trial of our own, not the paper's.

With Adam the step of W2's column j is nearly u = m̂/√v̂ of the adapter's own gradient for every unit that is on, whatever
h_j is: h cancels.  Taken literally, and with W2 = 0 at the start, W2 = U·1ᵀ with one adapter-sized vector U, and

    P = P0 + s·U,   s = 1 + Σ_j relu(W1·z + c1)_j,   dL/dh_j = U·g where unit j is on, 0 where it is off

(b2 = P0 + U takes the same step as U, which is the 1 in s).  So it is Adam-LoRA with a learned gain a layer, and its
controls are

- gain: s itself is the parameter, from the same 1 + Σh₀, stepped by Adam with dL/ds = U·g;
- scaled: s stays 1 + Σh₀: LoRA with its learning rate times that.

Active sets that change: all columns stay equal to U, whether their unit is on or off.  P is continuous that way (a unit
crosses 0 with h_j = 0), and no memory of when a unit woke is needed; but a unit that wakes up makes use of all of U at
once, while the exact W2's column would start from where it was left.

Everything here works on tensors with leading batch dimensions as well: U (..., k), z (..., z_dim), lr (..., 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from mlplora_vlm.generator import new_generator

VARIANTS = ("compact", "gain", "scaled")


class Adam:
    """The moments of one tensor, and Adam's direction (Kingma & Ba, algorithm 1): the step without its length."""

    def __init__(self, like: Tensor, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> None:
        self.m, self.v, self.t = torch.zeros_like(like), torch.zeros_like(like), 0
        self.betas, self.eps = betas, eps

    def direction(self, grad: Tensor) -> Tensor:
        """m̂ / (√v̂ + eps) after taking in ``grad``; same shape."""
        self.t += 1
        (b1, b2), t = self.betas, self.t
        self.m.lerp_(grad, 1 - b1)
        self.v.mul_(b2).addcmul_(grad, grad, value=1 - b2)
        denominator = self.v.sqrt().mul_((1 - b2**t) ** -0.5).add_(self.eps)
        return (self.m / denominator).mul_(1 / (1 - b1**t))


class CompactLayer:
    """One layer: U (..., k) and, for its gain, either a trunk z (..., z_dim), W1 (..., hidden, z_dim), c1 or a scalar.

    ``variant``: see `VARIANTS`.  The trunk's tensors are changed in place.
    """

    def __init__(
        self, z: Tensor, W1: Tensor, c1: Tensor, k: int, variant: str = "compact",
        betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
    ) -> None:  # fmt: skip
        self.z, self.W1, self.c1, self.variant = z, W1, c1, variant
        self.U = torch.zeros(*z.shape[:-1], k)
        self.s = 1 + self.hidden().sum(-1, keepdim=True)
        self.adam = {
            name: Adam(tensor, betas, eps)
            for name, tensor in (("U", self.U), ("z", z), ("W1", W1), ("c1", c1), ("s", self.s))
        }

    def hidden(self) -> Tensor:
        """h, shape (..., hidden)."""
        return torch.relu((self.W1 @ self.z[..., None])[..., 0] + self.c1)

    def step(self, grad: Tensor, lr: float | Tensor) -> Tensor:
        """How far P moves, shape (..., k), for its gradient ``grad`` (..., k)."""
        before, s = self.U * self.s, self.s
        ds = (self.U * grad).sum(-1, keepdim=True)
        self.U = self.U - lr * self.adam["U"].direction(grad)
        if self.variant == "gain":
            s = s - lr * self.adam["s"].direction(ds)
        elif self.variant == "compact":
            dpre = ds * (self.hidden() > 0)
            dz = (self.W1.mT @ dpre[..., None])[..., 0]
            dW1 = dpre[..., None] * self.z[..., None, :]
            wide = lr[..., None] if isinstance(lr, Tensor) else lr
            self.z -= lr * self.adam["z"].direction(dz)
            self.W1 -= wide * self.adam["W1"].direction(dW1)
            self.c1 -= lr * self.adam["c1"].direction(dpre)
            s = 1 + self.hidden().sum(-1, keepdim=True)
        self.s = s
        return self.U * s - before


class CompactOptimizer(torch.optim.Optimizer):
    """A `CompactLayer` behind each group of `mlplora_vlm.optimizer.adapter_groups`; the adapter's own start is kept."""

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        variant: str = "compact",
        hidden: int = 32,
        z_dim: int = 128,
        z_std: float = 0.1,
        seed: int = 0,
    ) -> None:
        if variant not in VARIANTS:
            raise ValueError(f"variant is {variant!r}; use one of {', '.join(VARIANTS)}")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})
        self.layers: dict[str, CompactLayer] = {}
        for group in self.param_groups:
            start = new_generator(group["name"], [], [], hidden, z_dim, z_std, seed)  # the exact generator's own trunk
            k = sum(p.numel() for p in group["params"])
            self.layers[group["name"]] = CompactLayer(
                start["z"], start["W1"], start["c1"], k, variant, group["betas"], group["eps"]
            )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            params = group["params"]
            grad = torch.cat([torch.zeros(p.numel()) if p.grad is None else p.grad.flatten() for p in params])
            moved = self.layers[group["name"]].step(grad, group["lr"])
            for param, part in zip(params, moved.split([p.numel() for p in params]), strict=True):
                param += part.view_as(param)
        return loss
