"""Qwen2.5-VL (``Qwen2_5_VLForConditionalGeneration``): pictures in their own shape, 2 x 2 patches merged to a token."""

from mlplora_vlm.families.card import FamilyCard, blocks
from mlplora_vlm.families.pictures import Pictures, by_pixels

CARD = FamilyCard(
    model_type="qwen2_5_vl",
    name="Qwen2.5-VL",
    language=blocks(r"model\.language_model\.layers"),
    projector=r"model\.visual\.merger\.mlp\.\d+",
    vision=blocks(r"model\.visual\.blocks", r"attn\.(?:qkv|proj)", r"mlp\.(?:gate|up|down)_proj"),
    unquantized=("model.visual", "lm_head"),
    placeholder="<|image_pad|>",
    pictures=Pictures(limit=by_pixels),
    former=(("model.visual.", "visual."), ("model.language_model.", "model.")),
    vllm="Language adapters; tower and merger with --enable-tower-connector-lora.",
    lmms_eval="qwen2_5_vl",
)
