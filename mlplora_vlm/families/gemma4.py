"""Gemma 4 (``Gemma4ForConditionalGeneration``): pictures in their own shape within a budget of tokens.

The small models (E2B, E4B) feed each layer an embedding of its own, share keys and values among their last layers, and
hear.  The large ones let picture tokens attend both ways and use keys as values.
"""

from __future__ import annotations

from typing import Any

from mlplora_vlm.families.card import FamilyCard, blocks
from mlplora_vlm.families.pictures import Pictures, counted

MARKS = 2  # tokens around a picture that transformers 5.23 does not count
BUDGETS = (70, 140, 280, 560, 1120)
"""What the image processor takes for ``max_soft_tokens``; it refuses any other number."""


def counted_with_marks(stock: Any, width: int, height: int) -> int:
    """Picture tokens, and the two that mark their begin and end."""
    return counted(stock, width, height) + MARKS


def by_budget(stock: Any, limit: int) -> None:
    """Sets the largest budget that keeps the limit, or the smallest there is."""
    stock.image_processor.max_soft_tokens = max((b for b in BUDGETS if b + MARKS <= limit), default=BUDGETS[0])


CARD = FamilyCard(
    model_type="gemma4",
    name="Gemma 4",
    language=blocks(
        r"model\.language_model\.layers",
        r"self_attn\.[qkvo]_proj",
        r"mlp\.(?:gate|up|down)_proj|per_layer_input_gate|per_layer_projection",
    ),
    projector=r"model\.embed_vision\.embedding_projection",
    vision=blocks(
        r"model\.vision_tower\.encoder\.layers",
        r"self_attn\.[qkvo]_proj\.linear",
        r"mlp\.(?:gate|up|down)_proj\.linear",
    ),
    unquantized=(
        "model.vision_tower",
        "model.embed_vision",
        "model.audio_tower",
        "model.embed_audio",
        "model.language_model.per_layer_model_projection",
        "lm_head",
    ),
    placeholder="<|image|>",
    pictures=Pictures(limit=by_budget, tokens=counted_with_marks),
    answer_end="<turn|>",
    vllm="Language adapters; tower and projector with --enable-tower-connector-lora.",
)
