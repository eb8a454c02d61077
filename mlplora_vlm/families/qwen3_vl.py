"""Qwen3-VL (``Qwen3VLForConditionalGeneration``): features of several tower layers enter the first language layers."""

from mlplora_vlm.families.card import FamilyCard, blocks
from mlplora_vlm.families.pictures import Pictures, by_pixels

CARD = FamilyCard(
    model_type="qwen3_vl",
    name="Qwen3-VL",
    language=blocks(r"model\.language_model\.layers"),
    projector=r"model\.visual\.(?:merger|deepstack_merger_list\.\d+)\.linear_fc[12]",
    vision=blocks(r"model\.visual\.blocks", r"attn\.(?:qkv|proj)", r"mlp\.linear_fc[12]"),
    unquantized=("model.visual", "lm_head"),
    placeholder="<|image_pad|>",
    pictures=Pictures(limit=by_pixels),
    vllm="Language adapters; tower and merger with --enable-tower-connector-lora.",
    lmms_eval="qwen3_vl",
)
