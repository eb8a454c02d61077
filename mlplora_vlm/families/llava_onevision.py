"""LLaVA-OneVision (``LlavaOnevisionForConditionalGeneration``): a lone picture is cut into tiles, several are not."""

from functools import partial
from typing import Any

from mlplora_vlm.families import llava
from mlplora_vlm.families.card import FamilyCard, blocks
from mlplora_vlm.families.pictures import Pictures, by_grid

CHAT_TEMPLATE = """\
{%- for message in messages -%}
    {{- '<|im_start|>' + message['role'] -}}
    {%- if message['role'] != 'assistant' %}{{- ' ' }}{% endif -%}
    {%- for part in message['content'] if part['type'] == 'image' %}{{- '<image>' }}{% endfor -%}
    {%- for part in message['content'] if part['type'] == 'text' %}{{- '\\n' + part['text'] }}{% endfor -%}
    {{- '<|im_end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{% endif -%}
"""
"""The published one's format but for a space: that one ends its prompt with 'assistant' and a line break, yet writes an
assistant's turn with a space between the two, so no answer follows the prompt that asked for it."""


def filled(stock: Any, width: int, height: int) -> int:
    """At most what a picture in this grid costs: features beyond 1.21 times ``anyres_max_N`` tiles are shrunk to N."""
    side, tile = round(stock.num_image_tokens**0.5), stock.image_processor.size.height
    features = (height // tile) * (width // tile) * side**2
    most = int(1.21 * int(stock.vision_aspect_ratio.removeprefix("anyres_max_")) * side**2)
    return side**2 + min(features, most) + height // tile * side


CARD = FamilyCard(
    model_type="llava_onevision",
    name="LLaVA-OneVision",
    language=blocks(r"model\.language_model\.layers"),
    projector=r"model\.multi_modal_projector\.linear_[12]",
    vision=blocks(r"model\.vision_tower\.encoder\.layers", r"self_attn\.(?:[qkv]|out)_proj", r"mlp\.fc[12]"),
    unquantized=("model.vision_tower", "model.multi_modal_projector", "lm_head"),
    placeholder="<image>",
    pictures=Pictures(limit=partial(by_grid, filled=filled)),
    mirrored=("image_grid_pinpoints",),
    counted_together=True,
    chat_template=CHAT_TEMPLATE,
    unusable_template="message['role'] + ' '",
    former=llava.CARD.former,
    vllm="No adapter can be served: serve the merged model.",
    lmms_eval="llava_hf",
)
