"""Granite Vision 4 (``Granite4VisionForConditionalGeneration``): Q-Formers between tower and decoder layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from mlplora_vlm.families.card import FamilyCard, blocks
from mlplora_vlm.families.pictures import Pictures, by_grid


@contextmanager
def loaded_in_parts() -> Iterator[None]:
    """While it is open, the model also loads under ZeRO-3, where parameters that a checkpoint filled look empty.

    To initialise a projector transformers 5.23 divides by its query's width before it asks whether anything is missing.
    """
    from transformers.models.granite4_vision import modeling_granite4_vision as stock

    initialize = stock.Granite4VisionPreTrainedModel._init_weights

    def only_what_is_here(self: Any, module: Any) -> None:
        if not isinstance(module, stock.Granite4VisionWindowQFormerDownsampler) or module.query.numel():
            initialize(self, module)

    with patch.object(stock.Granite4VisionPreTrainedModel, "_init_weights", only_what_is_here):
        yield


CARD = FamilyCard(
    model_type="granite4_vision",
    name="Granite Vision 4",
    language=blocks(r"model\.language_model\.layers"),
    projector=r"model\.(?:layerwise|spatial)_projectors\.\d+\.(?:out_linear|qformer\.encoder\.layer\.\d+\..*)",
    vision=blocks(r"model\.vision_tower\.encoder\.layers", r"self_attn\.(?:[qkv]|out)_proj", r"mlp\.fc[12]"),
    unquantized=("model.vision_tower", "model.layerwise_projectors", "model.spatial_projectors", "lm_head"),
    placeholder="<image>",
    pictures=Pictures(limit=by_grid),
    mirrored=("image_grid_pinpoints",),
    loading=loaded_in_parts,
    vllm="Language adapters alone; serve the merged model where tower or projectors were adapted.",
)
