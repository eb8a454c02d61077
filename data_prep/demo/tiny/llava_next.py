"""The tiny LLaVA-NeXT: grids of up to four tiles, unpadded, a newline feature after each row.

The template's format is that of llava-v1.6-mistral-7b-hf's published chat_template.json.
"""

from data_prep.demo.tiny.build import DECODER, TinyFamily, Token

CHAT_TEMPLATE = """\
{%- for message in messages -%}
    {%- if message['role'] == 'user' %}{{- '[INST] ' }}{% else %}{{- ' ' }}{% endif -%}
    {%- for part in message['content'] if part['type'] == 'image' %}{{- '<image>\\n' }}{% endfor -%}
    {%- for part in message['content'] if part['type'] == 'text' %}{{- part['text'] }}{% endfor -%}
    {%- if message['role'] == 'user' %}{{- ' [/INST]' }}{% else %}{{- '</s> ' }}{% endif -%}
{%- endfor -%}
"""
TILE = 28  # pixels; 2 x 2 patches of 14
GRIDS = [[TILE, 2 * TILE], [2 * TILE, TILE], [2 * TILE, 2 * TILE], [3 * TILE, TILE], [TILE, 3 * TILE]]

TINY = TinyFamily(
    model_type="llava_next",
    config={
        "image_token_index": Token("<image>"),
        "image_grid_pinpoints": GRIDS,
        "image_seq_length": 4,
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
        "tie_word_embeddings": False,
        "vision_config": {
            "model_type": "clip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 61,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": TILE,
            "patch_size": 14,
            "projection_dim": 32,
        },
        "text_config": {
            "model_type": "mistral",
            **DECODER,
            "sliding_window": None,
            "bos_token_id": Token("<s>"),
            "eos_token_id": Token("</s>"),
            "pad_token_id": Token("<pad>"),
        },
    },
    tokens=("<unk>", "<s>", "</s>", "<pad>", "<image>"),
    bos="<s>",
    eos="</s>",
    pad="<pad>",
    unk="<unk>",
    adds_bos=True,
    chat_template=CHAT_TEMPLATE,
    image_processor={
        "size": {"shortest_edge": TILE},
        "crop_size": {"height": TILE, "width": TILE},
        "image_grid_pinpoints": GRIDS,
    },
    processor={
        "patch_size": 14,
        "vision_feature_select_strategy": "default",
        "num_additional_image_tokens": 1,  # the class token, which "default" leaves out again
        "image_token": "<image>",
    },
)
