"""What the project knows of a model family: data only, found by ``config.model_type``."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass

from mlplora_vlm.errors import MendableError, did_you_mean

PARTS = ("language", "projector", "vision")


@dataclass(frozen=True)
class FamilyCard:
    """Full-path patterns (regular expressions, matched against the whole module name) of a family's parts."""

    model_type: str
    """``AutoConfig.model_type``; never a folder's or repo's name."""
    language: str
    """Linears of the language model's layers."""
    projector: str
    """Linears that map picture features to the language model's width."""
    vision: str
    """Linears of the vision tower's layers."""
    unquantized: tuple[str, ...]
    """Full paths of modules that a 4-bit base keeps as they are."""
    image_token: str
    """The picture placeholder as the chat template writes it; the processor widens it to one token a feature."""

    def pattern(self, part: str) -> str:
        """The pattern of one of ``PARTS``."""
        return str(getattr(self, part))


def known_families() -> dict[str, FamilyCard]:
    """Every card, by ``model_type``: each module of this package that defines ``CARD``."""
    package = importlib.import_module("mlplora_vlm.families")
    modules = (
        importlib.import_module(f"{package.__name__}.{info.name}") for info in pkgutil.iter_modules(package.__path__)
    )
    cards = (module.CARD for module in modules if hasattr(module, "CARD"))
    return {card.model_type: card for card in cards}


def card_for(model_type: str, where: str = "model.id") -> FamilyCard:
    """The card of a model type; raises `MendableError` where the family is not known."""
    cards = known_families()
    if model_type not in cards:
        raise MendableError(
            f"no family card for model_type {model_type!r}{did_you_mean(model_type, cards)}",
            where,
            f"add a FamilyCard in mlplora_vlm/families/ (known: {', '.join(sorted(cards))})",
        )
    return cards[model_type]
