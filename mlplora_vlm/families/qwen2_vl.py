"""Qwen2-VL (``Qwen2VLForConditionalGeneration``): as Qwen2.5-VL, the tower with full attention."""

from mlplora_vlm.families.card import FamilyCard, blocks
from mlplora_vlm.families.pictures import Pictures, by_pixels

CARD = FamilyCard(
    model_type="qwen2_vl",
    name="Qwen2-VL",
    language=blocks(r"model\.language_model\.layers"),
    projector=r"model\.visual\.merger\.mlp\.\d+",
    vision=blocks(r"model\.visual\.blocks", r"attn\.(?:qkv|proj)", r"mlp\.fc[12]"),
    unquantized=("model.visual", "lm_head"),
    placeholder="<|image_pad|>",
    pictures=Pictures(limit=by_pixels),
    former=(("model.visual.", "visual."), ("model.language_model.", "model.")),
    vllm="Language adapters; tower and merger with --enable-tower-connector-lora.",
    lmms_eval="qwen2_vl",
)
