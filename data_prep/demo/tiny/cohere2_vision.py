"""The tiny Command A Vision: up to four tiles and a thumbnail, a sliding and a full layer of Cohere2.

The published template is behind a licence gate and was not seen. This one's format is that of Cohere's own later
templates (its library melody, cmd4), without system turn and thoughts: text in blocks, pictures outside them.
"""

from data_prep.demo.tiny.build import DECODER, TinyFamily, Token

CHAT_TEMPLATE = """\
{{- '<BOS_TOKEN>' -}}
{%- for message in messages -%}
    {%- set role = 'CHATBOT' if message['role'] == 'assistant' else message['role'] | upper -%}
    {{- '<|START_OF_TURN_TOKEN|><|' + role + '_TOKEN|>' -}}
    {%- for part in message['content'] -%}
        {%- if part['type'] == 'image' -%}
            {{- '<|IMG_PATCH|>' -}}
        {%- else -%}
            {{- '<|START_TEXT|>' + part['text'] + '<|END_TEXT|>' -}}
        {%- endif -%}
    {%- endfor -%}
    {{- '<|END_OF_TURN_TOKEN|>' -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{- '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{% endif -%}
"""
TILE, PATCH = 28, 7  # pixels

TINY = TinyFamily(
    model_type="cohere2_vision",
    config={
        "image_token_id": Token("<|IMG_PATCH|>"),
        "downsample_factor": 2,
        "alignment_intermediate_size": 58,
        "tie_word_embeddings": True,
        "vision_config": {
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 61,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": TILE,
            "patch_size": PATCH,
            "vision_use_head": False,
        },
        "text_config": {
            "model_type": "cohere2",
            **DECODER,
            "sliding_window": 16,
            "layer_types": ["sliding_attention", "full_attention"],
            "bos_token_id": Token("<BOS_TOKEN>"),
            "eos_token_id": Token("<|END_OF_TURN_TOKEN|>"),
            "pad_token_id": Token("<PAD>"),
        },
    },
    tokens=(
        "<PAD>",
        "<UNK>",
        "<BOS_TOKEN>",
        "<|START_OF_TURN_TOKEN|>",
        "<|END_OF_TURN_TOKEN|>",
        "<|USER_TOKEN|>",
        "<|CHATBOT_TOKEN|>",
        "<|SYSTEM_TOKEN|>",
        "<|START_TEXT|>",
        "<|END_TEXT|>",
        "<|START_OF_IMG|>",
        "<|END_OF_IMG|>",
        "<|IMG_LINE_BREAK|>",
        "<|IMG_PATCH|>",
    ),
    bos="<BOS_TOKEN>",
    eos="<|END_OF_TURN_TOKEN|>",
    pad="<PAD>",
    unk="<UNK>",
    named_tokens={
        "image_token": "<|IMG_PATCH|>",
        "boi_token": "<|START_OF_IMG|>",
        "eoi_token": "<|END_OF_IMG|>",
        "img_line_break_token": "<|IMG_LINE_BREAK|>",
    },
    adds_bos=True,
    chat_template=CHAT_TEMPLATE,
    image_processor={
        "size": {"height": TILE, "width": TILE},
        "max_patches": 4,
        "patch_size": 2,  # not the tower's: the processor writes its square of tokens a tile, here (28 / 7 / 2)^2
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    },
)
