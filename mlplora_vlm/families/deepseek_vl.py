"""DeepSeek-VL 1.3B (``DeepseekVLForConditionalGeneration``): every picture padded to a square of one size."""

from mlplora_vlm.families.card import FamilyCard, blocks
from mlplora_vlm.families.pictures import Pictures

CARD = FamilyCard(
    model_type="deepseek_vl",
    name="DeepSeek-VL",
    language=blocks(r"model\.language_model\.layers"),
    projector=r"model\.aligner\.linear[12]",
    vision=blocks(r"model\.vision_model\.encoder\.layers", r"self_attn\.(?:[qkv]|out)_proj", r"mlp\.fc[12]"),
    unquantized=("model.vision_model", "model.aligner", "lm_head"),
    placeholder="<image_placeholder>",
    pictures=Pictures(tokens=lambda stock, width, height: int(stock.num_image_tokens)),
    former=(("model.vision_model.", "model.vision_model.vision_model."),),
    vllm="Not served: use transformers.",
)
