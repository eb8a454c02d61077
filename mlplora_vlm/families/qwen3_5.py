"""Qwen3.5 (``Qwen3_5ForConditionalGeneration``): three of four language layers are gated linear attention."""

from mlplora_vlm.families.card import FamilyCard, blocks
from mlplora_vlm.families.pictures import Pictures, by_pixels

CARD = FamilyCard(
    model_type="qwen3_5",
    name="Qwen3.5",
    language=blocks(
        r"model\.language_model\.layers",
        r"self_attn\.[qkvo]_proj|linear_attn\.(?:in_proj_(?:qkv|z)|out_proj)",
        r"mlp\.(?:gate|up|down)_proj",
    ),
    projector=r"model\.visual\.merger\.linear_fc[12]",
    vision=blocks(r"model\.visual\.blocks", r"attn\.(?:qkv|proj)", r"mlp\.linear_fc[12]"),
    unquantized=(
        "model.visual",
        "lm_head",
        r"model\.language_model\.layers\.\d+\.linear_attn\.in_proj_[ab]",  # decay and write gates: one output a head
    ),
    placeholder="<|image_pad|>",
    pictures=Pictures(limit=by_pixels),
    template_options={"enable_thinking": False},
    recurrent=True,
    vllm="Language adapters; tower and merger with --enable-tower-connector-lora.",
    lmms_eval="qwen3_5",
)
