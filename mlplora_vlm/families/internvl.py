"""InternVL 2.5 to 3.5, the -HF models (``InternVLForConditionalGeneration``): tiles and a thumbnail."""

from mlplora_vlm.families.card import FamilyCard, blocks
from mlplora_vlm.families.pictures import Pictures, by_fewer

CARD = FamilyCard(
    model_type="internvl",
    name="InternVL3",
    language=blocks(r"model\.language_model\.layers"),
    projector=r"model\.multi_modal_projector\.linear_[12]",
    vision=blocks(
        r"model\.vision_tower\.encoder\.layer", r"attention\.(?:[qkv]_proj|projection_layer)", r"mlp\.fc[12]"
    ),
    unquantized=("model.vision_tower", "model.multi_modal_projector", "lm_head"),
    placeholder="<IMG_CONTEXT>",
    pictures=Pictures(limit=by_fewer("max_patches")),
    former=(
        ("model.language_model.", "language_model.model."),
        ("model.multi_modal_projector.", "multi_modal_projector."),
        ("model.vision_tower.", "vision_tower."),
    ),
    vllm="Language adapters alone; serve the merged model where tower or projector was adapted.",
    lmms_eval="internvl_hf",
)
