"""Idefics3 and SmolVLM 1 (``Idefics3ForConditionalGeneration``): squares with their row and column, and the whole."""

from mlplora_vlm.families.card import FamilyCard, blocks
from mlplora_vlm.families.pictures import Pictures, by_squares, spelled

CARD = FamilyCard(
    model_type="idefics3",
    name="Idefics3",
    language=blocks(r"model\.text_model\.layers"),
    projector=r"model\.connector\.modality_projection\.proj",
    vision=blocks(r"model\.vision_model\.encoder\.layers", r"self_attn\.(?:[qkv]|out)_proj", r"mlp\.fc[12]"),
    unquantized=("model.vision_model", "model.connector", "lm_head"),
    placeholder="<image>",
    pictures=Pictures(limit=by_squares, tokens=spelled),
    answer_end="<end_of_utterance>",
    vllm="Language adapters; those of tower and connector with --enable-tower-connector-lora, else silently left out.",
)
