"""Frozen base weights in 4 or 8 bits: how bitsandbytes is asked for them, what it made, and what they take in bytes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlplora_vlm.errors import MendableError

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel

    from mlplora_vlm.families.card import FamilyCard
    from mlplora_vlm.load import ModelSection

FOUR_BIT = ("nf4", "fp4")

BLOCK, OUTER_BLOCK = 64, 256
"""bitsandbytes scales blocks of 64 weights; double quantisation scales 256 of those scales together."""
CODE, OUTER_CODE = 16 * 4, 256 * 4 + 4
"""Bytes of the tables a layer keeps: the 16 values of its codes; those of its 8-bit scales, and their mean."""


def quantization_config(settings: ModelSection, dtype: torch.dtype, card: FamilyCard) -> Any:
    """What transformers is given; ``dtype`` is the model's: 4-bit weights compute in it unless the section says else.

    4-bit: QLoRA's (arXiv 2305.14314).  8-bit: LLM.int8 (arXiv 2208.07339) with its outliers above 6 kept in half
    precision.
    """
    import torch
    from transformers import BitsAndBytesConfig

    kept = list(card.unquantized)
    if settings.quantization == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=kept)
    compute = settings.compute_dtype
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=settings.quantization,
        bnb_4bit_use_double_quant=settings.double_quantization,
        bnb_4bit_compute_dtype=dtype if compute == "auto" else getattr(torch, compute),
        llm_int8_skip_modules=kept,
    )


def quantized_bytes(shape: Sequence[int], settings: ModelSection) -> tuple[int, int]:
    """(bytes of a weight's codes, bytes of the constants that turn them into numbers); ``shape``: (out, in)."""
    numbers = math.prod(shape)
    if settings.quantization == "int8":
        return numbers, 4 * shape[0]  # a scale a row
    blocks = math.ceil(numbers / BLOCK)
    if not settings.double_quantization:
        return math.ceil(numbers / 2), 4 * blocks + CODE
    return math.ceil(numbers / 2), blocks + 4 * math.ceil(blocks / OUTER_BLOCK) + CODE + OUTER_CODE


def quantized_layers(model: PreTrainedModel) -> dict[str, Any]:
    """The layers that bitsandbytes has quantised, by name."""
    from bitsandbytes.nn import Linear4bit, Linear8bitLt

    return {name: m for name, m in model.named_modules() if isinstance(m, Linear4bit | Linear8bitLt)}


def layers_to_quantize(model: nn.Module, card: FamilyCard) -> set[str]:
    """Names of the Linears that are to be quantised: the card's language layers, but for those that it keeps."""
    import torch

    return {
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and re.fullmatch(card.language, name)
        and not any(re.match(rf"(?:{kept})(?:\.|$)", name) for kept in card.unquantized)
    }


def check_chosen(model: PreTrainedModel, card: FamilyCard, settings: ModelSection) -> dict[str, Any]:
    """The layers that are quantised, or will be when their weights come; raises unless they are the card's.

    A wrong skip name is silent in transformers.
    """
    layers = quantized_layers(model)
    wanted = layers_to_quantize(model, card)
    if odd := sorted(wanted ^ layers.keys()) or (not layers and ["none of them"]):
        raise MendableError(
            f"{len(layers)} modules are {settings.quantization}, and the card names {len(wanted)} language layers",
            f"mlplora_vlm/families/ card {card.model_type!r} unquantized",
            f"name full paths there; differing: {odd[:4]}",
        )
    return layers


def check_quantized(model: PreTrainedModel, card: FamilyCard, settings: ModelSection) -> list[Any]:
    """A loaded model's quantised layers; raises `MendableError` unless they are the card's, of the kind asked for."""
    layers, four_bit = check_chosen(model, card, settings), settings.quantization in FOUR_BIT
    for name, layer in layers.items():
        state = getattr(layer.weight, "quant_state", None)  # 4-bit weights' alone
        kind = state.quant_type if state else "int8"
        nested = bool(state and state.nested)
        shape, wanted = tuple(state.shape if state else layer.weight.shape), (layer.out_features, layer.in_features)
        if shape != wanted:  # transformers compares the shapes of all other weights
            fix = "use weights and config.json of the same model"
            raise MendableError(f"{name}.weight has shape {shape}, expected {wanted}", "model.id", fix)
        if kind != settings.quantization or (four_bit and nested != settings.double_quantization):
            raise MendableError(
                f"the layer is {kind}{', double-quantised' * nested} and not as asked",
                f"model.quantization {settings.quantization}: {name}",
                "does the checkpoint hold quantised weights itself? name one of full precision in model.id",
            )
    return list(layers.values())


def check_unchanged(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Raises `MendableError` where embeddings, head or another weight are in a wider type than was asked for.

    Some ways to prepare a quantised model cast every weight that is not quantised to fp32, which doubles them.
    What the model's class itself keeps in fp32 is left out.
    """
    kept = [*(model._keep_in_fp32_modules or ()), *(model._keep_in_fp32_modules_strict or ())]
    wide = [
        name
        for name, parameter in model.named_parameters()
        if parameter.is_floating_point()
        and parameter.element_size() > dtype.itemsize
        and not any(re.search(rf"(?:^|\.){re.escape(part)}(?:\.|$)", name) for part in kept)
    ]
    if wide:
        raise MendableError(
            f"{len(wide)} weights are wider than {str(dtype).removeprefix('torch.')}, such as {wide[0]}",
            "model.dtype",
            "the model's class keeps them so: list them in its _keep_in_fp32_modules, or load in float32",
        )
