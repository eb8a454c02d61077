"""LLaVA-1.6 or LLaVA-NeXT (``LlavaNextForConditionalGeneration``): LLaVA-1.5 with pictures cut into a grid of tiles."""

from mlplora_vlm.families import llava
from mlplora_vlm.families.card import FamilyCard, blocks
from mlplora_vlm.families.pictures import Pictures, by_grid

CARD = FamilyCard(
    model_type="llava_next",
    name="LLaVA-NeXT",
    language=blocks(r"model\.language_model\.layers"),
    projector=r"model\.multi_modal_projector\.linear_[12]",
    vision=blocks(r"model\.vision_tower\.encoder\.layers", r"self_attn\.(?:[qkv]|out)_proj", r"mlp\.fc[12]"),
    unquantized=("model.vision_tower", "model.multi_modal_projector", "lm_head"),
    placeholder="<image>",
    pictures=Pictures(limit=by_grid),
    mirrored=("image_grid_pinpoints",),
    former=llava.CARD.former,
    vllm="Language adapters; the projector's with --enable-tower-connector-lora; the tower's names match nothing.",
    lmms_eval="llava_hf",
)
