"""The bytes of a loaded model by kind and precision, and the same foreseen from the architecture alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mlplora_vlm.families.card import FamilyCard, card_of
from mlplora_vlm.quantization import layers_to_quantize, quantized_bytes

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from mlplora_vlm.load import ModelSection

Kinds = dict[tuple[str, str], int]
"""(kind, precision) → bytes."""

LAYERS, CONSTANTS = "language layers", "their constants"
ADAPTER = re.compile(r"\.(?:lora_|vera_|modules_to_save\.)")
MIB = 2**20


def weight_kinds(model: nn.Module) -> Kinds:
    """What the weights of ``model``, with or without adapter, take where they lie; of ZeRO-3's shards the whole."""
    from mlplora_vlm.sharding import full_shape

    base = _base(model)
    names = _Names(base, card_of(base.config))
    found: Counter[tuple[str, str]] = Counter()
    for name, parameter in model.named_parameters():
        size = getattr(parameter, "ds_numel", parameter.numel()) * parameter.element_size()
        if ADAPTER.search(name):
            found["adapter", _precision(parameter)] += size
            continue
        plain = name.removeprefix("base_model.model.").replace(".base_layer.", ".").replace(".original_module.", ".")
        quantised, constants = _quantised(model, name, parameter)
        if quantised:
            found[LAYERS, quantised] += size
            found[CONSTANTS, quantised] += constants
        else:
            found[names.kind(plain, len(full_shape(parameter))), _precision(parameter)] += size
    for buffer in model.buffers():
        found["buffers", _precision(buffer)] += buffer.nbytes
    return dict(found)


def planned_kinds(model: PreTrainedModel, card: FamilyCard, base: ModelSection, size: int) -> Kinds:
    """What `weight_kinds` will say of ``model`` (the meta device will do), loaded as ``base`` says, without adapter.

    ``size``: bytes of a number that is not quantised.
    """
    names, found = _Names(model, card), Counter[tuple[str, str]]()
    layers = layers_to_quantize(model, card) if base.quantization != "none" else set()
    whole = "float32" if size == 4 else "bfloat16"
    for name, parameter in model.named_parameters():
        if name.removesuffix(".weight") in layers:
            codes, constants = quantized_bytes(parameter.shape, base)
            found[LAYERS, base.quantization] += codes
            found[CONSTANTS, base.quantization] += constants
        else:
            found[names.kind(name, parameter.dim()), whole] += parameter.numel() * size
    for buffer in model.buffers():
        found["buffers", _precision(buffer)] += buffer.nbytes
    return dict(found)


def said(kinds: Mapping[tuple[str, str], int]) -> str:
    """One line for people, largest first."""
    parts = [
        f"{kind} {size / MIB:,.1f} MiB {precision}"
        for (kind, precision), size in sorted(kinds.items(), key=lambda item: -item[1])
        if size >= MIB / 20
    ]
    return f"the model in memory, {sum(kinds.values()) / MIB:,.1f} MiB: {', '.join(parts)}"


class _Names:
    """Which kind a weight is of, by its name."""

    def __init__(self, model: Any, card: FamilyCard) -> None:
        modules = {name.replace(".base_layer", ""): module for name, module in model.named_modules()}
        self.card = card
        self.embeddings = _path(modules, model.get_input_embeddings())
        self.head = _path(modules, model.get_output_embeddings())
        self.language, vision = (_stack_path(modules, card.pattern(part)) for part in ("language", "vision"))
        self.tower = _root(vision, self.language)
        self.projector = {_outer(name, self.tower) for name in modules if re.fullmatch(card.projector, name)}

    def kind(self, name: str, dimensions: int) -> str:
        module = name.rpartition(".")[0]
        if module == self.embeddings:
            return "embeddings"
        if module == self.head:
            return "head"
        if any(_inside(module, path) for path in self.projector):
            return "projector"
        if _inside(module, self.tower):
            return "vision tower"
        if dimensions == 1 and _inside(module, _root(self.language, self.tower)):
            return "norms and biases"
        return LAYERS if re.fullmatch(self.card.language, module) else "other weights"


def _base(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _path(modules: Mapping[str, Any], wanted: Any) -> str:
    return next((name for name, module in modules.items() if module is wanted), "")


def _stack_path(modules: Mapping[str, Any], pattern: str) -> str:
    """The path of the list of layers whose Linears the pattern names."""
    for name in modules:
        match = re.fullmatch(pattern, name)
        if match:
            return name[: match.start("layer") - 1]
    return ""


def _root(path: str, other: str) -> str:
    """The shortest beginning of ``path`` that is none of ``other``."""
    shared = other.split(".")
    parts = path.split(".")
    for length in range(1, len(parts) + 1):
        if parts[:length] != shared[:length]:
            return ".".join(parts[:length])
    return path


def _outer(name: str, tower: str) -> str:
    """The projector that a module belongs to: what holds it, unless that holds the tower too."""
    outer = name.rpartition(".")[0]
    return outer if outer and not _inside(tower, outer) and not _inside(outer, tower) and "." in outer else name


def _inside(name: str, path: str) -> bool:
    return bool(path) and (name == path or name.startswith(f"{path}."))


def _quantised(model: nn.Module, name: str, parameter: Tensor) -> tuple[str, int]:
    """(how the weight is quantised, bytes of its constants); ("", 0) where it is not."""
    state = getattr(parameter, "quant_state", None)
    if state is not None:
        return state.quant_type, sum(tensor.nbytes for tensor in constants(state))
    if str(parameter.dtype) != "torch.int8":
        return "", 0
    module: Any = model.get_submodule(name.rpartition(".")[0])
    scales = getattr(parameter, "SCB", None)
    scales = module.state.SCB if scales is None else scales
    return "int8", scales.nbytes


def constants(state: Any) -> Iterator[Tensor]:
    yield state.absmax
    yield state.code
    if state.nested:
        yield state.offset
        yield from constants(state.state2)


def _precision(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
