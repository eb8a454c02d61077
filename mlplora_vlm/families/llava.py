"""LLaVA-1.5 (``LlavaForConditionalGeneration``): CLIP tower, two-layer projector, Llama-like language model."""

from mlplora_vlm.families.card import FamilyCard, blocks
from mlplora_vlm.families.pictures import Pictures

CARD = FamilyCard(
    model_type="llava",
    name="LLaVA-1.5",
    language=blocks(r"model\.language_model\.layers"),
    projector=r"model\.multi_modal_projector\.linear_[12]",
    vision=blocks(
        r"model\.vision_tower\.encoder\.layers?",  # CLIP and SigLIP; DINOv2 says layer
        r"self_attn\.(?:[qkv]|out)_proj|attention\.[qkvo]_proj",
        r"mlp\.fc[12]",
    ),
    unquantized=("model.vision_tower", "model.multi_modal_projector", "lm_head"),
    placeholder="<image>",
    pictures=Pictures(),
    former=(
        ("model.language_model.", "language_model.model."),
        ("model.multi_modal_projector.", "multi_modal_projector."),
        ("model.vision_tower.", "vision_tower.vision_model."),
        ("model.vision_tower.", "model.vision_tower.vision_model."),
    ),
    vllm="Language adapters; the projector's with --enable-tower-connector-lora; the tower's match nothing there.",
    lmms_eval="llava_hf",
)
