"""The tiny LFM2-VL: a short convolution, attention, a convolution; up to four tiles with a thumbnail.

The template's format is that of LFM2-VL's published chat_template.jinja, without tools.
"""

from data_prep.demo.tiny.build import TinyFamily, Token

CHAT_TEMPLATE = """\
{{- bos_token -}}
{%- for message in messages -%}
    {{- '<|im_start|>' + message['role'] + '\\n' -}}
    {%- for part in message['content'] -%}
        {%- if part['type'] == 'image' -%}
            {{- '<image>' -}}
        {%- else -%}
            {{- part['text'] -}}
        {%- endif -%}
    {%- endfor -%}
    {{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{% endif -%}
"""

PATCH, TILE = 8, 32  # pixels; a tile is 4 x 4 patches, and 2 x 2 of them are a token
TILES = ((1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2), (3, 1), (4, 1))

TINY = TinyFamily(
    model_type="lfm2_vl",
    config={
        "image_token_id": Token("<image>"),
        "projector_hidden_size": 53,
        "downsample_factor": 2,
        "tie_word_embeddings": True,
        "vision_config": {
            "model_type": "siglip2_vision_model",
            "hidden_size": 32,
            "intermediate_size": 61,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "patch_size": PATCH,
            "num_patches": 16,
            "vision_use_head": False,
        },
        "text_config": {
            "model_type": "lfm2",
            "vocab_size": 0,
            "hidden_size": 48,
            "intermediate_size": 91,
            "block_auto_adjust_ff_dim": False,
            "num_hidden_layers": 3,
            "layer_types": ["conv", "full_attention", "conv"],
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 2048,
            "bos_token_id": Token("<|startoftext|>"),
            "eos_token_id": Token("<|im_end|>"),
            "pad_token_id": Token("<|pad|>"),
        },
    },
    tokens=(
        "<|pad|>",
        "<|startoftext|>",
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        "<image>",
        "<|image_start|>",
        "<|image_end|>",
        "<|img_thumbnail|>",
        *(f"<|img_row_{row}_col_{column}|>" for row, column in TILES),
    ),
    bos="<|startoftext|>",
    eos="<|im_end|>",
    pad="<|pad|>",
    named_tokens={
        "image_token": "<image>",
        "image_start_token": "<|image_start|>",
        "image_end_token": "<|image_end|>",
        "image_thumbnail_token": "<|img_thumbnail|>",
    },
    adds_bos=True,
    chat_template=CHAT_TEMPLATE,
    image_processor={
        "encoder_patch_size": PATCH,
        "tile_size": TILE,
        "max_tiles": 4,
        "min_image_tokens": 2,
        "max_image_tokens": 9,
    },
)
