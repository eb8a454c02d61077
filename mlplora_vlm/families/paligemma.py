"""PaliGemma and PaliGemma 2 (``PaliGemmaForConditionalGeneration``): the prompt attends both ways, the answer causally.

PaliGemma 2 has Gemma 2 for a language model: the same names, but every other layer attends in a sliding window, and
attention scores and logits are capped.
"""

from __future__ import annotations

from typing import Any

from mlplora_vlm.families import llava
from mlplora_vlm.families.card import FamilyCard, blocks
from mlplora_vlm.families.pictures import Pictures

# Pictures, begin of sequence, prompt, line break: what the stock processor builds around a prompt.  There are no turns.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
    {%- for part in message['content'] if part['type'] == 'image' %}{{ '<image>' }}{% endfor -%}
    {%- if loop.first %}{{ bos_token }}{% endif -%}
    {%- for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor -%}
    {{- eos_token if message['role'] == 'assistant' else '\\n' -}}
{%- endfor -%}
"""


def as_written(stock: Any, *, text: list[str], images: list[list[Any]] | None = None, **options: Any) -> Any:
    """The rows as the template wrote them, with pictures or without; all of it prompt (``token_type_ids`` 0).

    The stock processor of transformers 5.23 puts its own begin of sequence and line break into each row, a training
    row's answer included, and refuses rows without pictures.
    """
    import torch

    wide = stock.image_token * stock.image_seq_length
    batch = stock.tokenizer([row.replace(stock.image_token, wide) for row in text], **options)
    batch["token_type_ids"] = torch.zeros_like(batch["input_ids"])
    if pictures := [picture for row in images or [] for picture in row]:
        batch["pixel_values"] = stock.image_processor(pictures, return_tensors="pt")["pixel_values"]
    return batch


def causal_from_the_answer_on(batch: dict[str, Any]) -> None:
    """``token_type_ids`` 1 from each row's first label on: nothing before it may look there."""
    batch["token_type_ids"] = (batch["labels"] != -100).cumsum(1).clamp(max=1)


CARD = FamilyCard(
    model_type="paligemma",
    name="PaliGemma",
    language=blocks(r"model\.language_model\.layers"),
    projector=r"model\.multi_modal_projector\.linear",
    vision=blocks(r"model\.vision_tower\.encoder\.layers", r"self_attn\.(?:[qkv]|out)_proj", r"mlp\.fc[12]"),
    unquantized=("model.vision_tower", "model.multi_modal_projector", "lm_head"),
    placeholder="<image>",
    pictures=Pictures(),
    chat_template=CHAT_TEMPLATE,
    encode=as_written,
    finish=causal_from_the_answer_on,
    former=llava.CARD.former,
    vllm=llava.CARD.vllm,
)
