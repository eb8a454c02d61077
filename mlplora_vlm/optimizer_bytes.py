"""The bytes of what `mlplora_vlm.optimizer` holds, from the sizes of the trained tensors alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlplora_vlm.attach import GeneratorSection

QUANTISED_FROM, BLOCK, MAPS = 4096, 256, 2 * 256 * 4
"""bitsandbytes keeps smaller tensors' moments in fp32; one fp32 scale a block; two maps of its 8-bit codes a layer."""


ON_AT_START = 0.5
"""Share of the hidden units that are on at the start: z·W1 is as often above 0 as below."""
EVER_ON = 0.75
"""Assumption: the share that are on at some time; benchmarks/rotated_digits.py saw 50 to 73 % up to the best rate."""


@dataclass(frozen=True)
class LayerSize:
    """The trained tensors of one adapted layer."""

    numels: tuple[int, ...]
    """Numbers of each tensor, in PEFT's order."""
    anchored: bool = False
    """Whether a frozen start stands beside them (DoRA's magnitude, VeRA's d)."""
    scaled: bool = False
    """Whether they differ in learning rate (LoRA+)."""

    @property
    def numbers(self) -> int:
        """The length of P."""
        return sum(self.numels)

    def rows(self, stage: int, world: int) -> int:
        """Numbers of P that one of ``world`` processes holds under ZeRO ``stage``, the engine's padding included.

        DeepSpeed pads a flat group (stages 1 and 2) to a multiple of twice the number of processes.
        """
        if stage == 3:
            return sum(math.ceil(n / world) for n in self.numels)
        return 2 * math.ceil(self.numbers / (2 * world)) if stage else self.numbers


def layer_sizes(groups: Iterable[dict[str, Any]]) -> list[LayerSize]:
    """The adapted layers among the groups of `mlplora_vlm.optimizer.adapter_groups`; tensors on the meta device do."""
    return [
        LayerSize(
            tuple(p.numel() for p in group["params"]),
            anchored="offset" in group["heads"],
            scaled=any(scale != 1 for scale in group.get("scales", ())),
        )
        for group in groups
        if group["heads"] is not None
    ]


def on_at_start(groups: Iterable[dict[str, Any]], generator: GeneratorSection, seed: int = 0) -> float:
    """The share of W2's numbers that are there at the start: about a half, and far from it for a few small layers.

    ``groups`` as `mlplora_vlm.optimizer.adapter_groups` makes them, with their names, which decide what is drawn.
    """
    from mlplora_vlm.generator import hidden_units, new_generator

    size, there = 0, 0
    for group in groups:
        if group["heads"] is not None:
            nothing = [0] * len(group["heads"])  # the trunk alone
            sizes = generator.hidden, generator.z_dim, generator.z_std
            on = hidden_units(new_generator(group["name"], nothing, group["heads"], *sizes, seed)).count_nonzero()
            rows = sum(p.numel() for p in group["params"])
            size, there = size + rows * generator.hidden, there + rows * int(on)
    return there / size


def generator_bytes(
    layers: Iterable[LayerSize],
    generator: GeneratorSection,
    stage: int = 0,
    world: int = 1,
    optimizer: str = "adamw",
    momentum: float = 0.9,
    on: float = ON_AT_START,
) -> dict[str, int]:
    """The generators on one process.  ``on``: the share of the hidden units that W2 has columns for.

    W2 (k, hidden), b2, scale and anchor (k,) are cut over ``world`` processes by ZeRO 1-3; W1, c1 and z are whole on
    each.  W2 has the precision that the section says, all else is fp32.  With a ReLU and AdamW's fp32 moments it has
    columns for units that have been on, else for all.  "generator step" is what exists besides, while
    one layer is stepped: W2's gradient, those of P, and the new P; for a W2 in bfloat16 its fp32 copy and the noise to
    round it.
    """
    sleeping = generator.form == "exact" and generator.states == "float32" and optimizer == "adamw"
    columns = generator.hidden * (on if sleeping else 1)
    weights = moments = step = 0
    for layer in layers:
        rows = layer.rows(stage, world)
        W2, trunk = round(rows * columns), generator.hidden * generator.z_dim
        half = generator.weights == "bfloat16"
        weights += W2 * (2 if half else 4) + 4 * (rows + trunk + generator.hidden + generator.z_dim)
        weights += 4 * rows * (layer.anchored + layer.scaled)
        weights += rows  # which of them are the engine's padding, a byte each
        tensors = (W2, rows, trunk, generator.hidden, generator.z_dim)
        moments += sum(moment_bytes(n, optimizer, momentum, generator.states) for n in tensors)
        moments += MAPS if generator.states != "float32" else 0
        step = max(step, W2 * (16 if half else 4) + 12 * rows)
    return {"generator weights": weights, "generator moments": moments, "generator step": step}


def moment_bytes(n: int, optimizer: str = "adamw", momentum: float = 0.9, states: str = "float32") -> int:
    """What the inner optimizer keeps for a tensor of ``n`` numbers: AdamW two moments, SGD one or none."""
    if optimizer == "sgd":
        return 4 * n if momentum else 0
    if states == "float32" or n < QUANTISED_FROM:
        return 8 * n
    return 2 * (n + 4 * math.ceil(n / BLOCK))


def plain_moment_bytes(numels: Sequence[int], optimizer: str = "adamw", momentum: float = 0.9) -> int:
    """The moments of tensors that are stepped as they are: always fp32."""
    return sum(moment_bytes(n, optimizer, momentum) for n in numels)
