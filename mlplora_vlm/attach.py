"""Puts a stock PEFT adapter on the parts of a model that the recipe names, and says what it adapted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from mlplora_vlm.errors import MendableError
from mlplora_vlm.families.card import PARTS, card_of
from mlplora_vlm.kinds import KINDS
from mlplora_vlm.targets import PartSection, targets, trained_in_full

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import nn
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class GeneratorSection:
    """The MLP behind each adapted layer (OP-LoRA, arXiv 2412.10362); it lives in the optimizer."""

    form: Literal["exact", "linear"] = "exact"
    """exact: the paper's MLP, chain rule by hand, equal to autograd through it; linear: the same without its ReLU."""
    hidden: int = 32
    """Hidden width; the generator holds `hidden` numbers (and their moments) for each adapter number."""
    z_dim: int = 128
    """Length of the learned input vector z."""
    z_std: float = 0.1
    """Standard deviation of z at the start."""
    start: Literal["paper", "keep"] = "paper"
    """paper: an adapter that is still the identity is drawn by the generator; keep: PEFT's own start stays."""
    states: Literal["float32", "8bit", "paged8bit"] = "float32"
    """Precision of the two AdamW moments of the generator's weights (8bit: bitsandbytes)."""
    weights: Literal["float32", "bfloat16"] = "float32"
    """Precision of W2, nearly all of the generator (bfloat16: rounded stochastically)."""
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

    kind: Literal["lora", "rslora", "dora", "pissa", "vera"] = "lora"
    """The PEFT method; mlplora_vlm/kinds.py has what sets each apart."""
    generated: bool = True
    """True: an MLP generates the adapter (OP-LoRA); false: the plain PEFT method."""
    on: tuple[Literal["language", "projector", "vision"], ...] = ("language", "projector")
    """Parts of the model, as the family card names them."""
    rank: int = 16
    """LoRA rank r: A is (r, in), B is (out, r).  VeRA trains r + out numbers a layer: its authors use 256 to 1024."""
    alpha: int = 32
    """The adapter's output is scaled by alpha / rank (rslora: alpha / √rank; vera has no such scale)."""
    dropout: float = 0.0
    """Dropout on the adapter's input."""
    b_lr_ratio: float = 1.0
    """Learning rate of B over that of A (LoRA+, arXiv 2402.12354, whose authors advise 16)."""
    full: tuple[Literal["projector"], ...] = ()
    """Parts that are trained in full beside the adapter, at `train.full_learning_rate`."""
    init_from: str | None = None
    """A PEFT adapter folder to go on from; its kind, rank and layers must be the recipe's."""
    language: PartSection = field(default_factory=PartSection)
    projector: PartSection = field(default_factory=PartSection)
    vision: PartSection = field(default_factory=PartSection)
    generator: GeneratorSection = field(default_factory=GeneratorSection)

    def part(self, name: str) -> PartSection:
        """What is chosen of one of the parts."""
        chosen: PartSection = getattr(self, name)
        return chosen

    def rank_of(self, part: str) -> int:
        """The rank of a part's adapters."""
        return self.part(part).rank or self.rank

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
        if self.b_lr_ratio <= 0:
            yield "b_lr_ratio", "b_lr_ratio must be above 0, or B never learns", "1 is plain; LoRA+ advises 16"
        elif self.b_lr_ratio != 1 and "lora_B.weight" not in KINDS[self.kind].tensors:
            yield "b_lr_ratio", f"b_lr_ratio is LoRA's: {self.kind} has no matrix B", "use b_lr_ratio=1"
        for part in self.full:
            if part in self.on:
                yield (
                    "full",
                    f"{part} would be adapted and trained in full at once",
                    f"write adapter.on=[{', '.join(p for p in self.on if p != part)}] beside adapter.full=[{part}]",
                )
        if self.full and not KINDS[self.kind].beside_full:
            others = ", ".join(name for name, kind in KINDS.items() if kind.beside_full)
            yield (
                "full",
                f"PEFT cannot merge {self.kind} beside a module that was trained in full",
                f"use kind={others.replace(', ', ' or ')}, or adapt the part: adapter.on",
            )
        for name in PARTS:
            chosen = self.part(name)
            if chosen != PartSection() and name not in self.on:
                yield name, f"{name} is not adapted, so nothing can be chosen of it", f"add {name} to adapter.on"
            if chosen.rank not in (None, self.rank) and not KINDS[self.kind].rank_by_layer:
                yield f"{name}.rank", f"{self.kind} has one rank for all layers", "set adapter.rank alone"
        if (self.projector.modules, self.projector.layers) != ("all", "all"):
            yield "projector", "a projector has neither numbered layers nor attention", "choose its rank alone"
        if self.init_from is not None and KINDS[self.kind].changes_base:
            yield (
                "init_from",
                f"{self.kind} makes its own start from the base weights, so there is nothing to go on from",
                "a trained PiSSA folder is a LoRA of twice the rank: kind=lora goes on from it",
            )


def attach(model: PreTrainedModel, settings: AdapterSection) -> tuple[PeftModel, dict[str, int]]:
    """Wraps the model in a stock ``PeftModel``; returns it with the number of adapted layers by part.

    The adapter starts as PEFT has it, or as ``settings.init_from`` holds it.  Nothing of it is generated yet: that is
    the optimizer's part.  A kind that changes the base weights leaves its start in ``adapter_start`` of the model (see
    `mlplora_vlm.start`).  Works on the meta device too.
    """
    import peft
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import ModulesToSaveWrapper

    from mlplora_vlm.start import go_on_from, record_start, same_every_time, tensors_to_go_on_from

    card, kind = card_of(model.config), KINDS[settings.kind]
    found = targets(model, settings, card)
    full = [path for paths in trained_in_full(model, settings, card).values() for path in paths]
    names = [name for part in found.values() for name in part]
    changes_base = kind.changes_base and model.device.type != "meta"  # where there is nothing to start from
    config = getattr(peft, kind.config)(
        **{name: getattr(settings, key) for key, name in kind.names.items()},
        **({} if kind.changes_base and not changes_base else kind.options),
        **_ranks(found, settings),
        target_modules=names,
        modules_to_save=full or None,
        task_type="CAUSAL_LM",
    )
    saved = tensors_to_go_on_from(model, settings) if settings.init_from else None
    with same_every_time(enabled=changes_base):
        # fp32 masters are the engine's business; PEFT's own up-cast would give fp32 adapters on a bf16 model
        peft_model = peft.get_peft_model(model, config, autocast_adapter_dtype=False)
    for wanted, wrapper in ((names, BaseTunerLayer), (full, ModulesToSaveWrapper)):
        wrapped = {n.removeprefix("base_model.model.") for n, m in peft_model.named_modules() if isinstance(m, wrapper)}
        if wrapped != set(wanted):
            raise MendableError(
                f"PEFT wrapped {len(wrapped)} modules where the family card names {len(wanted)}",
                f"mlplora_vlm/families/ card {card.model_type!r}",
                f"differing: {sorted(wrapped ^ set(wanted))[:6]}",
            )
    if changes_base:
        record_start(peft_model)
    if saved is not None:
        go_on_from(peft_model, saved, settings)
    return peft_model, {part: len(names) for part, names in found.items()}


def _ranks(found: dict[str, list[str]], settings: AdapterSection) -> dict[str, dict[str, float]]:
    """PEFT's rank_pattern and alpha_pattern for parts with a rank of their own."""
    kind = KINDS[settings.kind]
    ranks: dict[str, float] = {}
    alphas: dict[str, float] = {}
    for part, names in found.items():
        if (rank := settings.rank_of(part)) != settings.rank:
            alpha = settings.alpha * (rank / settings.rank) ** kind.scale_power
            ranks |= {re.escape(name): rank for name in names}
            alphas |= {re.escape(name): alpha for name in names}
    return {"rank_pattern": ranks, "alpha_pattern": alphas} if ranks else {}


def trained_numbers(model: nn.Module) -> dict[str, int]:
    """How many numbers a model trains: in its adapter's layers, and in modules that are trained in full."""
    sizes = {"adapter": 0, "full": 0}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            sizes["full" if ".modules_to_save." in name else "adapter"] += parameter.numel()
    return sizes
