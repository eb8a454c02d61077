"""Cut a model's depth to one layer of each kind and leave every width as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlplora_vlm.errors import MendableError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

LEAST = 2
"""Layers that a part keeps at least: one reads the other's output, and checkpoints hold more than one name."""
PARTS = {"text_config": "language", "vision_config": "vision"}
COUNTS = ("num_hidden_layers", "depth", "num_layers")
"""How configurations name their number of layers."""
MARKED = ("fullatt_block_indexes", "deepstack_visual_indexes", "cross_attention_layers", "deepstack_layer_map")
"""Lists of layer numbers: a layer in one of them is of another kind than one outside."""
WIDENING = ("intermediate_layers_indices",)
"""Lists of layer numbers whose outputs are concatenated: their length is a width, so each of them stays."""
SHARING = "num_kv_shared_layers"
"""How many of the last layers reuse the keys and values of an earlier one (Gemma)."""


def shallow(config: PreTrainedConfig) -> tuple[PreTrainedConfig, dict[str, tuple[int, int]]]:
    """Return a copy of ``config`` with one layer of each kind, and each part's number of layers before and after.

    Raises `MendableError` where a part names its layers in a way that is not known here.
    """
    from transformers import AutoConfig

    values, cuts = config.to_dict(), {}
    for key, part in PARTS.items():
        if not isinstance(values.get(key), dict):
            raise MendableError(f"expected {key} in the configuration of {config.model_type}", "model.id")
        cuts[part] = _cut(values[key], f"{config.model_type}.{key}")
    for key in ("stage_names", "out_features", "out_indices"):  # of a backbone: made again from the number of layers
        values["vision_config"].pop(key, None)
    for holder in (values, values["vision_config"], values.get("adapter_config") or {}):
        for key in ("vision_feature_layer", "vision_feature_layers"):
            if holder.get(key) is not None:
                holder[key] = _feature_layers(holder[key], cuts["vision"][1])
    return AutoConfig.for_model(**values), cuts


def _cut(values: dict[str, Any], where: str) -> tuple[int, int]:
    """Cut one part in place; return its number of layers before and after."""
    count_key = next((key for key in COUNTS if isinstance(values.get(key), int)), None)
    if count_key is None:
        raise MendableError(
            f"expected the number of layers under one of {', '.join(COUNTS)}", where, "add its key to families/depth.py"
        )
    count = values[count_key]
    chosen = _one_of_each_kind(values, count)
    for key, value in values.items():
        if key in (*MARKED, *WIDENING) and isinstance(value, list):
            values[key] = [chosen.index(layer) for layer in value if layer in chosen]
        elif isinstance(value, list) and len(value) == count:  # an entry for each layer, such as layer_types
            values[key] = [value[layer] for layer in chosen]
    if values.get(SHARING):
        values[SHARING] = sum(layer >= count - values[SHARING] for layer in chosen)
    values[count_key] = len(chosen)
    return count, len(chosen)


def _one_of_each_kind(values: Mapping[str, Any], count: int) -> list[int]:
    """The first layer of each kind, and the first others up to `LEAST`, in their order."""
    first: dict[Any, int] = {}
    for layer in range(count):
        first.setdefault(_kind(values, layer, count), layer)
    chosen = set(first.values())
    chosen |= {layer for key in WIDENING for layer in values.get(key) or () if 0 <= layer < count}
    chosen |= set([layer for layer in range(count) if layer not in chosen][: max(0, LEAST - len(chosen))])
    return sorted(chosen)


def _kind(values: Mapping[str, Any], layer: int, count: int) -> tuple[Any, ...]:
    """Everything in which layers of a part differ but their weights."""
    per_layer = [value[layer] for _, value in sorted(values.items()) if isinstance(value, list) and len(value) == count]
    marked = [layer in (values.get(key) or ()) for key in MARKED]
    return (*map(str, per_layer), *marked, layer >= count - (values.get(SHARING) or 0))


def _feature_layers(layers: Any, depth: int) -> Any:
    """The layers whose outputs the projector reads, within the new depth."""
    if isinstance(layers, list):
        return [_feature_layers(layer, depth) for layer in layers]
    return max(-depth, min(layers, depth - 1))
