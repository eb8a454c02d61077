"""Gemma 3 (``Gemma3ForConditionalGeneration``): a bare weight for a projector, sliding windows in most layers."""

from __future__ import annotations

from typing import Any

from mlplora_vlm.families import llava
from mlplora_vlm.families.card import FamilyCard, blocks
from mlplora_vlm.families.pictures import Pictures


def always_the_same(stock: Any, width: int, height: int) -> int:
    """The soft tokens with the two that mark them and the line breaks that the processor puts around.

    Pan-and-scan, which adds crops and words about them, is off in the published processors.
    """
    return len(stock.tokenizer(stock.full_image_sequence, add_special_tokens=False)["input_ids"])


CARD = FamilyCard(
    model_type="gemma3",
    name="Gemma 3",
    language=blocks(r"model\.language_model\.layers"),
    projector=r"model\.multi_modal_projector",
    vision=blocks(r"model\.vision_tower\.encoder\.layers", r"self_attn\.(?:[qkv]|out)_proj", r"mlp\.fc[12]"),
    unquantized=("model.vision_tower", "model.multi_modal_projector", "lm_head"),
    placeholder="<start_of_image>",
    pictures=Pictures(tokens=always_the_same),
    answer_end="<end_of_turn>",
    bare_projector=True,
    former=llava.CARD.former,
    vllm="Language adapters; the tower's names match nothing there. A projector trained in full is refused: serve the "
    "merged model.",
    lmms_eval="gemma3",
)
