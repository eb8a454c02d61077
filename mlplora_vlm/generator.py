"""The generator's mathematics (OP-LoRA, arXiv 2412.10362): a small MLP and a learned vector make one layer's A and B.

    vec([A; B]) = P = W2 · relu(W1·z + c1) + b2

Shapes: z (z_dim,), W1 (hidden, z_dim), c1 (hidden,), W2 (k, hidden), b2 (k,), with k = rank·(in + out) = len(P).
A process may hold only some rows of W2 and b2: every function here works on the rows it is given.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

Generator = dict[str, Tensor]
"""The five tensors of one layer's generator: z, W1, c1, W2, b2."""


def new_generator(name: str, numels: Sequence[int], hidden: int, z_dim: int, z_std: float, seed: int) -> Generator:
    """The paper's start for one layer, in fp32 on the CPU: the same for a name and seed on every machine and process.

    ``numels`` are the sizes of the adapter's tensors, first A, then B.  z ~ N(0, z_std²), W1 and the rows of W2 that
    make A Kaiming-uniform, the rows that make B 0 (so the adapter starts as the identity), biases 0.
    """
    random = torch.Generator().manual_seed((zlib.crc32(name.encode()) + seed) % 2**63)
    z = torch.randn(z_dim, generator=random) * z_std
    W1 = nn.init.kaiming_uniform_(torch.empty(hidden, z_dim), a=math.sqrt(5), generator=random)
    W2 = torch.zeros(sum(numels), hidden)
    nn.init.kaiming_uniform_(W2[: numels[0]], a=math.sqrt(5), generator=random)
    return {"z": z, "W1": W1, "c1": torch.zeros(hidden), "W2": W2, "b2": torch.zeros(sum(numels))}


def hidden_units(g: Generator) -> Tensor:
    """h = relu(W1·z + c1).  Returns shape (hidden,)."""
    return torch.relu(torch.addmv(g["c1"], g["W1"], g["z"]))


def generate(g: Generator) -> Tensor:
    """P = W2·h + b2.  Returns shape (rows,), the rows of P that this generator holds."""
    return torch.addmv(g["b2"], g["W2"], hidden_units(g))


def hidden_gradient(g: Generator, grad: Tensor) -> Tensor:
    """dL/dh = W2ᵀ·g, this process's share of the sum over all rows.  ``grad`` and result: (rows,) → (hidden,)."""
    return g["W2"].T @ grad


def generator_gradients(g: Generator, grad: Tensor, dh: Tensor) -> Generator:
    """The chain rule through the MLP, by hand: exactly what autograd gives.

    ``grad`` = ∂L/∂P of this process's rows, shape (rows,); ``dh`` = ∂L/∂h summed over all rows, shape (hidden,).
    """
    h = hidden_units(g)
    dpre = dh * (h > 0)
    return {
        "z": g["W1"].T @ dpre,
        "W1": torch.outer(dpre, g["z"]),
        "c1": dpre,
        "W2": torch.outer(grad, h),
        "b2": grad,
    }


class AutogradGenerator(nn.Module):
    """The paper as it reads: the MLP is part of the model, and autograd runs through it.

    The tests' oracle; training uses the functions above, which give the same numbers without the graph.
    """

    def __init__(self, start: Generator, shapes: Sequence[torch.Size]) -> None:
        super().__init__()
        self.shapes = [torch.Size(shape) for shape in shapes]
        self.z, self.W1, self.c1, self.W2, self.b2 = (
            nn.Parameter(start[name].clone()) for name in ("z", "W1", "c1", "W2", "b2")
        )

    def forward(self) -> list[Tensor]:
        """The adapter's tensors, A (rank, in) and B (out, rank)."""
        P = self.W2 @ torch.relu(self.W1 @ self.z + self.c1) + self.b2
        parts = P.split([shape.numel() for shape in self.shapes])
        return [part.view(shape) for part, shape in zip(parts, self.shapes, strict=True)]
