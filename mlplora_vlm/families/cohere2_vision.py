"""Command A Vision (``Cohere2VisionForConditionalGeneration``): tiles and a thumbnail, a gated projector, Cohere2."""

from mlplora_vlm.families.card import FamilyCard, blocks
from mlplora_vlm.families.pictures import Pictures, by_fewer

CARD = FamilyCard(
    model_type="cohere2_vision",
    name="Command A Vision",
    language=blocks(r"model\.language_model\.layers"),
    projector=r"model\.multi_modal_projector\.linear_[12]",
    vision=blocks(r"model\.vision_tower\.encoder\.layers", r"self_attn\.(?:[qkv]|out)_proj", r"mlp\.fc[12]"),
    unquantized=("model.vision_tower", "model.multi_modal_projector", "lm_head"),
    placeholder="<|IMG_PATCH|>",
    pictures=Pictures(limit=by_fewer("max_patches")),
    answer_end="<|END_TEXT|>",  # <|END_OF_TURN_TOKEN|> follows
    former=(("model.vision_tower.", "model.vision_tower.vision_model."),),
    vllm="No adapters at all; serve the merged model.",
)
