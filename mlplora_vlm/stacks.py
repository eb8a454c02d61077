"""The widths of a model's layers, read from the model itself (the meta device will do) by its card's patterns."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlplora_vlm.families.card import FamilyCard

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Block:
    """The Linears of a layer's attention, or of its MLP."""

    reads: tuple[int, ...] = ()
    """Output widths of those that read the layer's stream: q, k, v or all in one, gate and up or both in one."""
    writes: int = 0
    """Input width of what writes to the stream again: the width of all query heads; the MLP's inner width."""

    @property
    def keys(self) -> int:
        """Width of a token's keys and values together, whether they are two Linears, one, or fused with the queries."""
        return 2 * min(self.reads) if len(self.reads) > 1 else sum(self.reads) - self.writes


@dataclass(frozen=True)
class Layer:
    """One layer of the language model or of the vision tower."""

    number: int
    width: int
    """Of the stream."""
    attention: Block
    mlp: Block
    norms: int
    """Numbers that its norms read, a token."""
    adapted: tuple[tuple[int, int], ...]
    """(input, output) widths of its Linears with adapters."""


def stack(model: PreTrainedModel, card: FamilyCard, part: str, adapted: Collection[str] = ()) -> list[Layer]:
    """The layers of ``part``, "language" or "vision", in the model's order; ``adapted``: full names of Linears."""
    import torch

    grouped: dict[str, list[tuple[re.Match[str], Any]]] = {}
    for name, module in model.named_modules():
        match = re.fullmatch(card.pattern(part), name)
        if match and isinstance(module, torch.nn.Linear):
            grouped.setdefault(name[: match.end("layer")], []).append((match, module))
    wanted = set(adapted)
    return [_layer(model.get_submodule(path), linears, wanted) for path, linears in grouped.items()]


def projections(model: PreTrainedModel, card: FamilyCard) -> dict[str, tuple[int, int]]:
    """(input, output) widths of the projector's matrices by their module's name: its Linears, or its bare weight."""
    import torch

    found: dict[str, tuple[int, int]] = {}
    for name, module in model.named_modules():
        if re.fullmatch(card.projector, name):
            for weight in module.parameters(recurse=False):
                if weight.dim() == 2:
                    rows, columns = weight.shape
                    found[name] = (columns, rows) if isinstance(module, torch.nn.Linear) else (rows, columns)
    return found


def _layer(module: nn.Module, linears: list[tuple[re.Match[str], Any]], adapted: set[str]) -> Layer:
    # a linear attention may list its output first, an MLP lists what reads the stream first
    width: int = next((linear for match, linear in linears if match["mlp"] is not None), linears[0][1]).in_features
    attention, mlp = (
        _block([linear for match, linear in linears if match[group] is not None], width)
        for group in ("attention", "mlp")
    )
    sizes = [
        parameter.numel()
        for name, parameter in module.named_parameters()
        if parameter.dim() == 1 and name.endswith("weight")
    ]
    by_head = sum(attention.reads) if any(size != width for size in sizes) else 0  # norms of queries and keys
    return Layer(
        number=int(linears[0][0]["layer"]),
        width=width,
        attention=attention,
        mlp=mlp,
        norms=width * sizes.count(width) + by_head,
        adapted=tuple((linear.in_features, linear.out_features) for match, linear in linears if match[0] in adapted),
    )


def _block(linears: list[Any], width: int) -> Block:
    """Square Linears look alike: the last one counts as that which writes, which gives the same widths."""
    writing = {
        number
        for number, linear in enumerate(linears)
        if linear.out_features == width and (linear.in_features != width or number == len(linears) - 1)
    }
    return Block(
        reads=tuple(linear.out_features for number, linear in enumerate(linears) if number not in writing),
        writes=sum(linear.in_features for number, linear in enumerate(linears) if number in writing),
    )
