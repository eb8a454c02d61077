"""Ovis 2 (``Ovis2ForConditionalGeneration``): the tower's head mixes each patch of a visual vocabulary's words.

The projector is that head; the table of the words' embeddings stays as it is.
"""

from __future__ import annotations

from typing import Any

from mlplora_vlm.families.card import FamilyCard, blocks
from mlplora_vlm.families.pictures import Pictures, by_fewer


def by_covering_grid(stock: Any, width: int, height: int) -> int:
    """The whole picture and, where one is not enough to cover it, its tiles; three marks and one between tiles.

    transformers 5.23 has no count for this family.
    """
    from transformers.models.ovis2.image_processing_ovis2 import get_min_tile_covering_grid

    processor, tiles = stock.image_processor, 1
    if processor.crop_to_patches:
        rows, columns = get_min_tile_covering_grid((height, width), processor.size.height, processor.max_patches)
        tiles = rows * columns
    whole = int(stock.image_seq_length) + 3
    return whole if tiles == 1 else whole + tiles * stock.image_seq_length + tiles - 1


CARD = FamilyCard(
    model_type="ovis2",
    name="Ovis 2",
    language=blocks(r"model\.language_model\.layers"),
    projector=r"model\.vision_tower\.head_linear",
    vision=blocks(
        r"model\.vision_tower\.transformer\.encoder\.layers",
        r"attention\.(?:[qkv]|out)_proj",
        r"ffn\.(?:gate|up|down)_proj",
    ),
    unquantized=("model.vision_tower", "model.visual_embeddings_table", "lm_head"),
    placeholder="<image>",
    pictures=Pictures(limit=by_fewer("max_patches", by_covering_grid), tokens=by_covering_grid),
    vllm="Not served in transformers' layout: use transformers.",
)
