"""What the project knows of a model family: data, found by ``config.model_type``."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlplora_vlm.errors import MendableError, did_you_mean

if TYPE_CHECKING:
    from mlplora_vlm.families.pictures import Pictures

PARTS = ("language", "projector", "vision")


@dataclass(frozen=True)
class FamilyCard:
    """Patterns are regular expressions, matched against a module's whole name; `blocks` writes those of layers."""

    model_type: str
    """``AutoConfig.model_type``; never a folder's or repo's name."""
    name: str
    """What people call the family."""
    language: str
    """Linears of the language model's layers."""
    projector: str
    """What maps picture features to the language model's width: its Linears, or a module that holds a bare weight."""
    vision: str
    """Linears of the vision tower's layers."""
    unquantized: tuple[str, ...]
    """Full paths of modules that a 4-bit base keeps as they are."""
    placeholder: str
    """What the chat template writes for a picture; the processor widens it to the picture's tokens."""
    pictures: Pictures
    """How many tokens a picture costs, and how to bound it."""
    answer_end: str | None = None
    """The token that ends the assistant's turn; None: the tokenizer's end-of-sequence token."""
    chat_template: str | None = None
    """For families whose published processors have none, or one with ``unusable_template`` in it."""
    unusable_template: str | None = None
    """What marks a published chat template that writes no answer after its own prompt."""
    template_options: Mapping[str, Any] = field(default_factory=dict)
    """What the chat template is told beside the messages, such as not to think aloud."""
    text_answers: bool = False
    """The chat template wants an answer as a string, and not as a list of parts."""
    encode: Callable[..., Any] | None = None
    """Takes the stock processor's place in making a batch: (stock, its arguments by name) → what it would return."""
    finish: Callable[[dict[str, Any]], None] | None = None
    """Adds to a training batch with labels what the model's forward wants beside the processor's output."""
    loading: Callable[[], AbstractContextManager[None]] = nullcontext
    """Open while transformers loads the weights, for what it does wrong there."""
    mend: Callable[[Any], None] | None = None
    """Puts right in a loaded model what its class does wrong; no weight and no name of a layer changes."""
    former: tuple[tuple[str, str], ...] = ()
    """(how a layer's name starts, how it started in an older transformers): adapters of that time are translated.
    The newest of several former starts first; longer starts before shorter ones."""
    mirrored: tuple[str, ...] = ()
    """Image-processor settings that the model's configuration repeats: where one is bounded, so must be the other."""
    head: str = "lm_head"
    """The output embedding."""
    bare_projector: bool = False
    """The projector is a bare weight: it can be trained in full, and no adapter goes on it."""
    same_count: bool = False
    """Rows of a batch are only independent of each other where they hold equally many pictures."""
    counted_together: bool = False
    """A row's pictures cost otherwise together than each of them alone."""
    recurrent: bool = False
    """Whether layers carry a state from token to token, so padded rows can differ from single ones by rounding."""
    vllm: str = ""
    """What to know before serving an adapter of this family with vLLM."""
    lmms_eval: str = ""
    """lmms-eval's own model for this family; empty: its generic one reads it (eval_harness/lmms_eval.py)."""

    def pattern(self, part: str) -> str:
        """The pattern of one of ``PARTS``."""
        return str(getattr(self, part))


def blocks(path: str, attention: str = r"self_attn\.[qkvo]_proj", mlp: str = r"mlp\.(?:gate|up|down)_proj") -> str:
    """The pattern of Linears in numbered layers: groups ``layer``, and ``attention`` or ``mlp``; Llama's names.

    ``attention`` is whatever mixes tokens: self-attention, cross-attention, convolution, linear attention.
    """
    return rf"{path}\.(?P<layer>\d+)\.(?:(?P<attention>{attention})|(?P<mlp>{mlp}))"


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


EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
"""How language configurations name their number of experts."""


def card_of(config: Any) -> FamilyCard:
    """The card of a model's configuration; raises `MendableError` for an unknown family and a mixture of experts."""
    text = config.get_text_config()
    for key in EXPERTS:
        number = getattr(text, key, None) or 0
        if (max(number) if isinstance(number, list | tuple) else number) > 1:
            raise MendableError(
                f"{config.model_type} is a mixture of experts here ({key} is {number}), and their weights are fused: "
                "adapters go on Linear layers",
                "model.id",
                "use a dense model of the family; experts are out of scope",
            )
    return card_for(config.model_type)
