"""Aya Vision (``AyaVisionForConditionalGeneration``): tiles and the whole picture, 2 x 2 patches shuffled."""

from typing import Any

from mlplora_vlm.families import llava
from mlplora_vlm.families.card import FamilyCard, blocks
from mlplora_vlm.families.pictures import Pictures, by_fewer


def written(stock: Any, width: int, height: int) -> int:
    """The picture's tokens; a tile's name (``TILE_3``) is one or several, and transformers 5.23 always counts one."""
    tiles = stock._get_num_multimodal_tokens(image_sizes=[(height, width)])["num_image_patches"]
    text = stock.replace_image_token({"num_patches": tiles}, 0)
    return len(stock.tokenizer(text, add_special_tokens=False)["input_ids"])


CARD = FamilyCard(
    model_type="aya_vision",
    name="Aya Vision",
    language=blocks(r"model\.language_model\.layers"),
    projector=r"model\.multi_modal_projector\.linear_[12]",
    vision=blocks(r"model\.vision_tower\.encoder\.layers", r"self_attn\.(?:[qkv]|out)_proj", r"mlp\.fc[12]"),
    unquantized=("model.vision_tower", "model.multi_modal_projector", "lm_head"),
    placeholder="<image>",
    pictures=Pictures(limit=by_fewer("max_patches", written), tokens=written),
    answer_end="<|END_RESPONSE|>",  # <|END_OF_TURN_TOKEN|> follows
    former=llava.CARD.former,
    vllm="Not served since vLLM 0.25: use transformers.",
)
