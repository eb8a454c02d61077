"""LLaVA-1.5 (``LlavaForConditionalGeneration``): vision tower, two-layer projector, Llama-like language model."""

from mlplora_vlm.families.card import FamilyCard

CARD = FamilyCard(
    model_type="llava",
    language=r"model\.language_model\.layers\.\d+\.(self_attn|mlp)\.\w+_proj",
    projector=r"model\.multi_modal_projector\.linear_[12]",
    vision=r"model\.vision_tower\..*layers?\.\d+\..*",
    unquantized=("model.vision_tower", "model.multi_modal_projector", "lm_head"),
    image_token="<image>",
)
