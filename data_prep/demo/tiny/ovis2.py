"""The tiny Ovis 2: a visual vocabulary of the text's size, 2 x 2 patches a token, the picture whole and in tiles.

The template's format is that of transformers' conversion script for Ovis 2, which the published models were made with.
"""

from data_prep.demo.tiny.build import DECODER, TinyFamily, Token

CHAT_TEMPLATE = """\
{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' -}}
{%- for message in messages -%}
    {{- '<|im_start|>' + message['role'] + '\\n' -}}
    {%- for part in message['content'] -%}
        {%- if part['type'] == 'image' -%}
            {{- '<image>\\n' -}}
        {%- else -%}
            {{- part['text'] -}}
        {%- endif -%}
    {%- endfor -%}
    {{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{% endif -%}
"""

PIXELS, PATCH = 28, 7  # 4 x 4 patches, so 4 tokens

TINY = TinyFamily(
    model_type="ovis2",
    config={
        "image_token_id": Token("<IMG_ATOM>"),
        "visual_indicator_token_ids": [
            Token("<IMG_START>"),
            Token("<IMG_GRID>"),
            Token("<IMG_COL>"),
            Token("<IMG_ROW>"),
            Token("<IMG_END>"),
        ],
        "vocab_size": 0,
        "hidden_size": 48,
        "tie_word_embeddings": False,
        "vision_config": {
            "vocab_size": 0,
            "hidden_size": 32,
            "intermediate_size": 61,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": PIXELS,
            "patch_size": PATCH,
            "hidden_stride": 2,
        },
        "text_config": {
            "model_type": "qwen2",
            **DECODER,
            "bos_token_id": None,
            "eos_token_id": Token("<|im_end|>"),
            "pad_token_id": Token("<|endoftext|>"),
        },
    },
    tokens=(
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        "<IMG_ATOM>",
        "<IMG_START>",
        "<IMG_GRID>",
        "<IMG_COL>",
        "<IMG_ROW>",
        "<IMG_END>",
    ),
    eos="<|im_end|>",
    pad="<|endoftext|>",
    named_tokens={"image_token": "<IMG_ATOM>"},
    chat_template=CHAT_TEMPLATE,
    image_processor={
        "size": {"height": PIXELS, "width": PIXELS},
        "crop_to_patches": True,
        "max_patches": 4,
    },
    processor={"image_seq_length": 4},
)
