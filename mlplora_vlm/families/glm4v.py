"""GLM-4.1V (``Glm4vForConditionalGeneration``): gate and up in one Linear, a turn ends where the next begins."""

from functools import partial

from mlplora_vlm.families.card import FamilyCard, blocks
from mlplora_vlm.families.pictures import Pictures, by_pixels

CARD = FamilyCard(
    model_type="glm4v",
    name="GLM-4.1V",
    language=blocks(r"model\.language_model\.layers", r"self_attn\.[qkvo]_proj", r"mlp\.(?:gate_up|down)_proj"),
    projector=r"model\.visual\.merger\.(?:gate_|up_|down_)?proj",
    vision=blocks(r"model\.visual\.blocks", r"attn\.(?:qkv|proj)", r"mlp\.(?:gate|up|down)_proj"),
    unquantized=("model.visual", "lm_head"),
    placeholder="<|image|>",
    pictures=Pictures(limit=partial(by_pixels, frames=2)),  # a picture counts as a video of two frames
    answer_end="<|user|>",
    text_answers=True,
    vllm="Language adapters; tower and merger with --enable-tower-connector-lora.",
)
