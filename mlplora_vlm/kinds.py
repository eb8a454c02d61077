"""Adapter kinds: what PEFT calls each one, and how a generator makes its tensors.  The only table of its sort."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

HEADS: Mapping[str, str] = {
    "lora_A": "drawn",
    "lora_B": "zero",
    "lora_embedding_A": "zero",
    "lora_embedding_B": "drawn",
    "vera_lambda_b": "zero",
}
"""PEFT's names of a layer's tensors → how the generator's rows for it start; any other tensor is an "offset".

drawn: Kaiming-uniform rows; the tensor starts as the generator makes it.  zero: rows of 0; the tensor starts at 0, as
it must for the adapter to be the identity.  offset: rows of 0, and what they make is added to the tensor's own frozen
start (DoRA's magnitude, VeRA's d).
"""


@dataclass(frozen=True)
class Kind:
    """One PEFT method."""

    tensors: tuple[str, ...]
    """Endings of a layer's tensors in the adapter file."""
    zero: str = ""
    """The one that is all zeros while the adapter is the identity; empty: the method never is."""
    config: str = "LoraConfig"
    """PEFT's configuration class."""
    names: Mapping[str, str] = field(
        default_factory=lambda: {"rank": "r", "alpha": "lora_alpha", "dropout": "lora_dropout"}
    )
    """The recipe's key → that class's; a key that is missing here means nothing to the method."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What sets the kind apart in that configuration."""
    shared: tuple[str, ...] = ()
    """Tensors of the adapter file that belong to no layer and are not trained."""
    beside_full: bool = True
    """PEFT 0.21 can merge it where other modules are trained in full."""
    rank_by_layer: bool = True
    """Layers can have ranks of their own."""
    scale_power: float = 1.0
    """The adapter's scale is alpha over the rank to this power."""
    changes_base: bool = False
    """It takes its start out of the base weights, so it needs them unquantised, and its file only fits what is left."""
    kept_outputs: int = 0
    """Copies of a layer's output that its forward leaves for the backward pass, beyond LoRA's."""
    weight_copies: int = 0
    """At most so many tensors of the size of a layer's weight exist while that layer's forward runs."""

    @property
    def peft_type(self) -> str:
        """What adapter_config.json says."""
        return self.config.removesuffix("Config").upper()


LORA = ("lora_A.weight", "lora_B.weight")

KINDS: Mapping[str, Kind] = {
    "lora": Kind(LORA, zero="lora_B.weight"),
    "rslora": Kind(LORA, zero="lora_B.weight", options={"use_rslora": True}, scale_power=0.5),
    "dora": Kind(
        (*LORA, "lora_magnitude_vector"),
        zero="lora_B.weight",
        options={"use_dora": True},
        kept_outputs=2,
        weight_copies=7,  # an identity matrix (in², up to 2.7 weights), BA, scaled, added to the weight, dequantised
    ),
    "pissa": Kind(LORA, options={"init_lora_weights": "pissa_niter_16"}, changes_base=True),
    "vera": Kind(
        ("vera_lambda_d", "vera_lambda_b"),
        zero="vera_lambda_b",
        config="VeraConfig",
        names={"rank": "r", "dropout": "vera_dropout"},
        options={"save_projection": True},
        shared=("base_model.vera_A", "base_model.vera_B"),
        beside_full=False,
        rank_by_layer=False,
        kept_outputs=1,
    ),
}


def kind_of(config: Mapping[str, Any]) -> str | None:
    """The kind that an adapter_config.json describes; None where it is another, or two in one."""
    set_apart = [option for kind in KINDS.values() for option in kind.options.items()]
    given = [option for option in set_apart if config.get(option[0]) == option[1]]
    for name, kind in KINDS.items():
        if config.get("peft_type") == kind.peft_type and given == list(kind.options.items()):
            return name
    return None
