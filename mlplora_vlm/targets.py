"""Which layers of a model an adapter goes on: the card's patterns, and what the recipe chooses of them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal

from mlplora_vlm.errors import MendableError
from mlplora_vlm.families.card import FamilyCard

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from mlplora_vlm.attach import AdapterSection


@dataclass(frozen=True)
class PartSection:
    """What of a part is adapted, and how."""

    modules: Literal["all", "attention", "mlp"] = "all"
    """attention: what mixes tokens; mlp: what works on each token alone."""
    layers: str = "all"
    """Numbered layers, such as `8-31` or `0,4,8-11`; negative numbers count from the last (`-4--1`)."""
    rank: int | None = None
    """None: that of the adapter section.  The adapter's scale stays the section's."""

    def problems(self) -> Iterator[tuple[str, str, str]]:
        """(key, what is wrong, how to mend) for every value that cannot work."""
        if self.rank is not None and self.rank < 1:
            yield "rank", "rank must be at least 1", "leave it out for the section's own"
        try:
            numbered(self.layers, 1000)
        except ValueError as error:
            yield "layers", str(error), "write all, or numbers and ranges such as 0,4,8-11"


def numbered(layers: str, count: int) -> set[int]:
    """The layers of ``count`` that a `PartSection.layers` names; raises ValueError where it cannot be read."""
    if layers == "all":
        return set(range(count))
    found: set[int] = set()
    for entry in layers.split(","):
        match = re.fullmatch(r"\s*(-?\d+)(?:-(-?\d+))?\s*", entry)
        if match is None:
            raise ValueError(f"{entry.strip()!r} names no layers")
        first, last = (int(n) + (count if int(n) < 0 else 0) for n in (match[1], match[2] or match[1]))
        if not 0 <= first <= last:
            raise ValueError(f"{entry.strip()!r} is an empty range")
        found |= set(range(first, last + 1))
    return found


def targets(model: PreTrainedModel, settings: AdapterSection, card: FamilyCard) -> dict[str, list[str]]:
    """Full names of the Linear layers to adapt, by part, in the model's order.

    Raises `MendableError` where a part's pattern, or what is chosen of the part, matches no Linear.
    """
    return {part: _chosen(model, part, settings.part(part), card) for part in settings.on}


def trained_in_full(model: PreTrainedModel, settings: AdapterSection, card: FamilyCard) -> dict[str, list[str]]:
    """Full paths of the modules to train in full, by part: the largest ones that hold no other Linear layers.

    Raises `MendableError` where the part's pattern matches nothing.
    """
    linears = set(_linear_names(model))
    found: dict[str, list[str]] = {}
    for part in settings.full:
        matched = {match.string for match in _matches([name for name, _ in model.named_modules()], part, card)}
        found[part] = sorted({_largest_without(name, linears - matched) for name in matched})
    return found


def _largest_without(name: str, others: Collection[str]) -> str:
    """The outermost module around ``name`` that holds none of ``others``; never the whole model."""
    while (outer := name.rpartition(".")[0]) and not any(other.startswith(f"{outer}.") for other in others):
        name = outer
    return name


def _linear_names(model: PreTrainedModel) -> list[str]:
    import torch

    return [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]


def _matches(names: Iterable[str], part: str, card: FamilyCard) -> list[re.Match[str]]:
    """The names that the part's pattern fits; raises `MendableError`, with the nearest names, where it fits none."""
    names = list(names)
    found = [match for name in names if (match := re.fullmatch(card.pattern(part), name))]
    if not found:
        plain = re.sub(r"\?P<\w+>|\\d\+|\\|[()?:]", "", card.pattern(part))
        kinds = {re.sub(r"\.\d+(?=\.|$)", ".0", name): name for name in reversed(names)}
        near = [kinds[name] for name in get_close_matches(plain, kinds, n=4, cutoff=0.3)]
        raise MendableError(
            f"the pattern of {part!r}, {card.pattern(part)!r}, fits none of {len(names)} layers",
            f"mlplora_vlm/families/ card {card.model_type!r}",
            f"the nearest: {', '.join(near or names[:4])}",
        )
    return found


def _chosen(model: PreTrainedModel, part: str, choice: PartSection, card: FamilyCard) -> list[str]:
    """Names of the part's Linears that ``choice`` leaves."""
    if part == "projector" and card.bare_projector:
        raise MendableError(
            f"the {part} of {card.name} is a bare weight, and adapters go on Linear layers",
            "adapter.on",
            f"train it in full: adapter.full=[{part}], and leave it out of adapter.on",
        )
    found = _matches(_linear_names(model), part, card)
    if part == "projector":
        return [match.string for match in found]
    depth = 1 + max(int(match["layer"]) for match in found)
    layers = numbered(choice.layers, depth)
    if not layers <= set(range(depth)):
        raise MendableError(
            f"{choice.layers!r} names layers that are not there: {card.name}'s {part} has 0 to {depth - 1}",
            f"adapter.{part}.layers",
            f"name some of 0-{depth - 1}",
        )
    names = [
        match.string
        for match in found
        if int(match["layer"]) in layers and (choice.modules == "all" or match[choice.modules] is not None)
    ]
    if not names:
        some = sorted({re.sub(r".*\.\d+\.", "", match.string) for match in found})
        raise MendableError(
            f"layers {choice.layers} of the {part} hold no {choice.modules} to adapt",
            f"adapter.{part}.modules",
            f"its layers hold: {', '.join(some)}",
        )
    return names
