"""The generator's mathematics (OP-LoRA, arXiv 2412.10362): a small MLP and a learned vector make one layer's adapter.

    P = scale ⊙ (W2 · relu(W1·z + c1) + b2) + anchor

P is the layer's trained tensors laid end to end, such as vec([A; B]).  Shapes: z (z_dim,), W1 (hidden, z_dim),
c1 (hidden,), W2 (k, hidden), b2, scale and anchor (k,), with k = len(P).  The paper has neither scale (1 where it is
missing) nor anchor (0): the first gives a tensor a learning rate of its own (LoRA+), the second keeps a tensor's frozen
start (DoRA's magnitude).  W2 and b2 hold their rows divided by scale and are stepped with the gradient of the undivided
rows, so every optimizer moves what they make scale times as far.  A process may hold only some rows of W2, b2, scale
and anchor, and only those columns of W2 whose units have ever been on: the others add nothing to P, and nothing is
learnt about them.  Every function here works on the rows and columns that it is given.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

Generator = dict[str, Tensor]
"""One layer's tensors: z, W1, c1, W2, b2, and where they are needed scale, anchor, and awake: W2's columns' units."""

TRAINED = ("z", "W1", "c1", "W2", "b2")
BY_ROW = ("W2", "b2", "scale", "anchor")
"""Tensors with one row for each number of P."""


def new_generator(
    name: str, numels: Sequence[int], heads: Sequence[str], hidden: int, z_dim: int, z_std: float, seed: int
) -> Generator:
    """The paper's start for one layer, in fp32 on the CPU: the same for a name and seed on every machine and process.

    ``numels`` and ``heads`` (see `mlplora_vlm.kinds.HEADS`) are those of the layer's tensors.  z ~ N(0, z_std²), W1 and
    the rows of W2 that make "drawn" tensors Kaiming-uniform, all other rows and the biases 0.
    """
    random = torch.Generator().manual_seed((zlib.crc32(name.encode()) + seed) % 2**63)
    z = torch.randn(z_dim, generator=random) * z_std
    W1 = nn.init.kaiming_uniform_(torch.empty(hidden, z_dim), a=math.sqrt(5), generator=random)
    W2 = torch.zeros(sum(numels), hidden)
    for rows, head in zip(W2.split(list(numels)), heads, strict=True):
        if head == "drawn":
            nn.init.kaiming_uniform_(rows, a=math.sqrt(5), generator=random)
    return {"z": z, "W1": W1, "c1": torch.zeros(hidden), "W2": W2, "b2": torch.zeros(sum(numels))}


def hidden_units(g: Generator, relu: bool = True) -> Tensor:
    """h = relu(W1·z + c1); without ``relu`` the linear generator's W1·z + c1.  Returns shape (hidden,)."""
    pre = torch.addmv(g["c1"], g["W1"], g["z"])
    return torch.relu(pre) if relu else pre


def generate(g: Generator, relu: bool = True) -> Tensor:
    """P.  Returns shape (rows,), the rows of P that this generator holds."""
    P = torch.addmv(g["b2"], g["W2"], _of_columns(g, hidden_units(g, relu)))
    if "scale" in g:
        P = P * g["scale"]
    return P + g["anchor"] if "anchor" in g else P


def keep(g: Generator, P: Tensor, relu: bool = True) -> None:
    """Moves b2 so that the generator makes ``P``, shape (rows,), and whatever stood in the tensors is kept."""
    difference = P - generate(g, relu)
    g["b2"] += difference / g["scale"] if "scale" in g else difference


def hidden_gradient(g: Generator, grad: Tensor) -> Tensor:
    """dL/dh = W2ᵀ·(scale ⊙ g), this process's part of the sum over all rows.  ``grad`` = ∂L/∂P (rows,) → (hidden,)."""
    part = g["W2"].T @ (grad * g["scale"] if "scale" in g else grad)
    return torch.zeros_like(g["c1"]).index_copy_(0, g["awake"], part) if "awake" in g else part


def trunk_gradient(g: Generator, dh: Tensor, relu: bool = True) -> Tensor:
    """dL/d(W1·z + c1) from ``dh`` summed over all rows, both of shape (hidden,)."""
    return dh * (hidden_units(g) > 0) if relu else dh


def generator_gradients(g: Generator, grad: Tensor, dh: Tensor, relu: bool = True) -> Generator:
    """The chain rule through the MLP, by hand: exactly what autograd gives; for W2 and b2, of their undivided rows.

    ``grad`` = ∂L/∂P of this process's rows, shape (rows,); ``dh`` = ∂L/∂h summed over all rows, (hidden,).
    """
    dpre = trunk_gradient(g, dh, relu)
    return {
        "z": g["W1"].T @ dpre,
        "W1": torch.outer(dpre, g["z"]),
        "c1": dpre,
        "W2": torch.outer(grad, _of_columns(g, hidden_units(g, relu))),
        "b2": grad,
    }


def squared_gradient_norm(g: Generator, squared_grad: Tensor, dh: Tensor, relu: bool = True) -> Tensor:
    """‖∇‖² over all five tensors in closed form, without making them: dW2 = g·hᵀ has the norm ‖g‖·‖h‖, and so on.

    ``squared_grad`` = ‖∂L/∂P‖² over all rows of all processes, a scalar.
    """
    h, dpre = hidden_units(g, relu), trunk_gradient(g, dh, relu)
    of_rows = squared_grad * (h.square().sum() + 1)
    of_trunk = dpre.square().sum() * (g["z"].square().sum() + 1)
    return of_rows + of_trunk + (g["W1"].T @ dpre).square().sum()


def _of_columns(g: Generator, h: Tensor) -> Tensor:
    return h[g["awake"]] if "awake" in g else h


class AutogradGenerator(nn.Module):
    """The paper as it reads: the MLP is part of the model, and autograd runs through it.

    The tests' oracle; training uses the functions above, which give the same numbers without the graph.  W2 and b2 are
    one parameter for each tensor of the layer, so that an optimizer can give each a learning rate.
    """

    def __init__(self, start: Generator, shapes: Sequence[torch.Size], relu: bool = True) -> None:
        super().__init__()
        self.shapes, self.relu = [torch.Size(shape) for shape in shapes], relu
        sizes = [shape.numel() for shape in self.shapes]
        self.z, self.W1, self.c1 = (nn.Parameter(start[name].clone()) for name in ("z", "W1", "c1"))
        self.W2, self.b2 = (
            nn.ParameterList(part.clone() for part in start[name].split(sizes)) for name in ("W2", "b2")
        )
        self.anchors = start.get("anchor", torch.zeros(sum(sizes))).split(sizes)

    def forward(self) -> list[Tensor]:
        """The layer's tensors, such as A (rank, in) and B (out, rank)."""
        pre = self.W1 @ self.z + self.c1
        h = torch.relu(pre) if self.relu else pre
        parts = zip(self.W2, self.b2, self.anchors, self.shapes, strict=True)
        return [(W2 @ h + b2 + anchor).view(shape) for W2, b2, anchor, shape in parts]
