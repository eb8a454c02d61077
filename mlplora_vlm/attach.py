"""Puts a stock PEFT adapter on the parts of a model that the recipe names, and says what it adapted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from mlplora_vlm.errors import MendableError
from mlplora_vlm.families.card import FamilyCard, card_for

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class GeneratorSection:
    """The MLP behind each adapted layer (OP-LoRA, arXiv 2412.10362); it lives in the optimizer."""

    form: Literal["exact"] = "exact"
    """exact: the paper's MLP, chain rule by hand, equal to autograd through it."""
    hidden: int = 32
    """Hidden width; the generator holds `hidden` numbers (and their moments) for each adapter number."""
    z_dim: int = 128
    """Length of the learned input vector z."""
    z_std: float = 0.1
    """Standard deviation of z at the start."""
    states: Literal["float32", "8bit"] = "float32"
    """Precision of the two AdamW moments of the generator's weights (8bit: bitsandbytes)."""
    device: Literal["model", "cpu"] = "model"
    """Where the generator lives; `cpu` moves only adapter-sized gradients and weights over the bus."""

    def problems(self) -> Iterator[tuple[str, str, str]]:
        """(key, what is wrong, how to mend) for every value that cannot work."""
        for key in ("hidden", "z_dim"):
            if getattr(self, key) < 1:
                yield key, f"{key} must be at least 1", "the paper uses hidden 32 and z_dim 128"
        if self.z_std <= 0:
            yield "z_std", "z_std must be above 0, or z never learns", "the paper uses 0.1"


@dataclass(frozen=True)
class AdapterSection:
    """Which adapter goes on which parts of the model."""

    kind: Literal["lora"] = "lora"
    """The PEFT method."""
    generated: bool = True
    """True: an MLP generates the adapter (OP-LoRA); false: the plain PEFT method."""
    on: tuple[Literal["language", "projector", "vision"], ...] = ("language", "projector")
    """Parts of the model, as the family card names them."""
    rank: int = 16
    """LoRA rank r: A is (r, in), B is (out, r)."""
    alpha: int = 32
    """The adapter's output is scaled by alpha / rank."""
    dropout: float = 0.0
    """Dropout on the adapter's input."""
    generator: GeneratorSection = field(default_factory=GeneratorSection)

    def problems(self) -> Iterator[tuple[str, str, str]]:
        """(key, what is wrong, how to mend) for every value that cannot work."""
        if not self.on:
            yield "on", "no part of the model is adapted", "name at least one of language, projector, vision"
        if len(set(self.on)) < len(self.on):
            yield "on", "a part is named twice", "name each part once"
        if self.rank < 1:
            yield "rank", "rank must be at least 1", "8 to 64 are usual"
        if self.alpha <= 0:
            yield "alpha", "alpha must be above 0, or the adapter does nothing", "twice the rank is usual"
        if not 0 <= self.dropout < 1:
            yield "dropout", "dropout must be in [0, 1)", "0 or 0.05 are usual"


def targets(model: PreTrainedModel, settings: AdapterSection, card: FamilyCard) -> dict[str, list[str]]:
    """Full names of the Linear layers to adapt, by part, in the model's order.

    Raises `MendableError` where a part's pattern matches no Linear, with the nearest module names.
    """
    import torch

    linears = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    found: dict[str, list[str]] = {
        part: [n for n in linears if re.fullmatch(card.pattern(part), n)] for part in settings.on
    }
    for part, names in found.items():
        if not names:
            some = ", ".join(linears[:3] + linears[-3:])
            raise MendableError(
                f"adapter.on names {part!r}, but {card.pattern(part)!r} fits none of {len(linears)} linears",
                f"mlplora_vlm/families/ card {card.model_type!r}",
                f"layers are called like: {some}",
            )
    return found


def attach(model: PreTrainedModel, settings: AdapterSection) -> tuple[PeftModel, dict[str, int]]:
    """Wraps the model in a stock ``PeftModel``; returns it with the number of adapted layers by part.

    The adapter starts as the identity (B = 0).  Nothing of it is generated yet: that is the optimizer's part.
    """
    from peft import LoraConfig, get_peft_model

    card = card_for(model.config.model_type)
    found = targets(model, settings, card)
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=[name for names in found.values() for name in names],
        task_type="CAUSAL_LM",
    )
    # fp32 masters are the engine's business; PEFT's own up-cast would give fp32 adapters on a bf16 model
    peft_model = get_peft_model(model, config, autocast_adapter_dtype=False)
    adapted = {name.removeprefix("base_model.model.") for name, m in peft_model.named_modules() if hasattr(m, "lora_A")}
    wanted = {name for names in found.values() for name in names}
    if adapted != wanted:
        raise MendableError(
            f"PEFT adapted {len(adapted)} layers where the family card names {len(wanted)}",
            f"mlplora_vlm/families/ card {card.model_type!r}",
            f"differing: {sorted(adapted ^ wanted)[:6]}",
        )
    return peft_model, {part: len(names) for part, names in found.items()}
