"""Molmo 2 (``Molmo2ForConditionalGeneration``): a small view and overlapping crops, pooled by cross-attention.

Picture tokens attend both ways, over all pictures of a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from mlplora_vlm.families.card import FamilyCard, blocks
from mlplora_vlm.families.pictures import Pictures, by_fewer


class WholeShapes:
    """Stands for a model whose parameters may be cut over processes; knows their whole shapes."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def get_parameter(self, name: str) -> Any:
        """An empty tensor of the parameter's whole shape."""
        import torch

        parameter = self.model.get_parameter(name)
        return torch.empty(getattr(parameter, "ds_shape", parameter.shape), device="meta")


@contextmanager
def cut_by_whole_shapes() -> Iterator[None]:
    """While it is open, fused weights are cut into parts also under ZeRO-3.

    Checkpoints hold query, key and value in one; transformers 5.23 cuts them by the shapes of the model's parameters,
    which are empty there.
    """
    from transformers.core_model_loading import Split

    convert: Any = Split.convert

    def whole(self: Split, *args: Any, model: Any, **options: Any) -> Any:
        return convert(self, *args, model=WholeShapes(model), **options)

    with patch.object(Split, "convert", whole):
        yield


CARD = FamilyCard(
    model_type="molmo2",
    name="Molmo 2",
    language=blocks(r"model\.language_model\.layers"),
    projector=r"model\.multi_modal_projector\.(?:image_pooling_2d\.[qkvo]_proj|image_projector\.(?:gate|up|down)_proj)",
    vision=blocks(r"model\.vision_tower\.layers", r"self_attn\.[qkvo]_proj", r"mlp\.fc[12]"),
    unquantized=("model.vision_tower", "model.multi_modal_projector", "lm_head"),
    placeholder="<|image|>",
    pictures=Pictures(limit=by_fewer("max_crops")),
    loading=cut_by_whole_shapes,
    vllm="Its layers have other names there, so no adapter fits: serve the merged model.",
)
