"""The tiny Aya Vision: up to four tiles and the whole picture, a sliding and a full layer of Cohere2.

The template's format is that of its makers' inference script for transformers.
"""

from data_prep.demo.tiny.build import DECODER, TinyFamily, Token

CHAT_TEMPLATE = """\
{{- '<BOS_TOKEN>' -}}
{%- for message in messages -%}
    {%- if message['role'] == 'assistant' -%}
        {{- '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|><|START_RESPONSE|>' -}}
    {%- else -%}
        {{- '<|START_OF_TURN_TOKEN|><|' + message['role'] | upper + '_TOKEN|>' -}}
    {%- endif -%}
    {%- for part in message['content'] if part['type'] == 'image' %}{{- '<image>' }}{% endfor -%}
    {%- for part in message['content'] if part['type'] == 'text' %}{{- part['text'] }}{% endfor -%}
    {%- if message['role'] == 'assistant' %}{{- '<|END_RESPONSE|>' }}{% endif -%}
    {{- '<|END_OF_TURN_TOKEN|>' -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{- '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|><|START_RESPONSE|>' }}{% endif -%}
"""
TILE, PATCH, TILES = 28, 7, 4  # pixels, pixels, at most

TINY = TinyFamily(
    model_type="aya_vision",
    config={
        "image_token_index": Token("<|IMG_PATCH|>"),
        "downsample_factor": 2,
        "alignment_intermediate_size": 58,
        "tie_word_embeddings": False,
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
            "tie_word_embeddings": False,
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
        "<|START_RESPONSE|>",
        "<|END_RESPONSE|>",
        "<|START_OF_IMG|>",
        "<|END_OF_IMG|>",
        "<|IMG_LINE_BREAK|>",
        "<|IMG_PATCH|>",
        "<image>",
        "TILE_GLOBAL",
        *(f"TILE_{number}" for number in range(1, TILES + 1)),
    ),
    bos="<BOS_TOKEN>",
    eos="<|END_OF_TURN_TOKEN|>",
    pad="<PAD>",
    unk="<UNK>",
    adds_bos=True,
    chat_template=CHAT_TEMPLATE,
    image_processor={
        "size": {"height": TILE, "width": TILE},
        "max_patches": TILES,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    },
    processor={"patch_size": 2 * PATCH, "img_size": TILE},
)
