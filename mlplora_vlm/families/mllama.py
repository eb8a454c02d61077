"""Llama 3.2 Vision (``MllamaForConditionalGeneration``): pictures enter through cross-attention layers."""

from __future__ import annotations

from typing import Any

from mlplora_vlm.families.card import FamilyCard, blocks
from mlplora_vlm.families.pictures import Pictures


def with_text_rows(stock: Any, *, text: list[str], images: list[list[Any]] | None = None, **options: Any) -> Any:
    """Rows with and without pictures in one batch, which transformers 5.23 refuses or miscounts by their order.

    The rows with pictures are processed first; to the others go ``aspect_ratio_ids`` 0 and the first tile of
    ``aspect_ratio_mask``, as transformers has it for a picture that is missing beside others.
    """
    from torch.nn.functional import pad

    if not images:
        return stock(text=text, **options)
    order = sorted(range(len(text)), key=lambda row: not images[row])
    batch = stock(text=[text[row] for row in order], images=[images[row] for row in order], **options)
    if not all(images):
        seen = len(batch["aspect_ratio_ids"])
        batch["aspect_ratio_ids"] = pad(batch["aspect_ratio_ids"], (0, 0, 0, len(text) - seen))
        batch["aspect_ratio_mask"] = pad(batch["aspect_ratio_mask"], (0, 0, 0, 0, 0, len(text) - seen))
        batch["aspect_ratio_mask"][seen:, :, 0] = 1
    back = sorted(range(len(text)), key=order.__getitem__)
    return {name: tensor[back] for name, tensor in batch.items()}


CARD = FamilyCard(
    model_type="mllama",
    name="Llama 3.2 Vision",
    language=blocks(
        r"model\.language_model\.layers", r"(?:self|cross)_attn\.[qkvo]_proj", r"mlp\.(?:gate|up|down)_proj"
    ),
    projector=r"model\.multi_modal_projector",
    vision=blocks(r"model\.vision_model\.(?:global_)?transformer\.layers", r"self_attn\.[qkvo]_proj", r"mlp\.fc[12]"),
    unquantized=("model.vision_model", "model.multi_modal_projector", "lm_head"),
    placeholder="<|image|>",
    pictures=Pictures(tokens=lambda stock, width, height: 1),  # the text holds the placeholder alone
    answer_end="<|eot_id|>",
    encode=with_text_rows,
    same_count=True,  # tokens before a picture attend to every picture of the batch's longest row, missing ones too
    former=(
        ("model.language_model.", "language_model.model."),
        ("model.multi_modal_projector", "multi_modal_projector"),
        ("model.vision_model.", "vision_model."),
    ),
    vllm="Not served since vLLM 0.10.2: use transformers.",
    lmms_eval="llama_vision",
)
