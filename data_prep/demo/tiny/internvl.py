"""The tiny InternVL: up to four tiles and a thumbnail, 2 x 2 patches shuffled into a token.

The template's format is that of the processors published for transformers (InternVL3-8B-hf).
"""

from data_prep.demo.tiny.build import DECODER, TinyFamily, Token

CHAT_TEMPLATE = """\
{%- for message in messages -%}
    {{- '<|im_start|>' + message['role'] + '\\n' -}}
    {%- for part in message['content'] -%}
        {%- if part['type'] == 'image' -%}
            {{- '<IMG_CONTEXT>\\n' -}}
        {%- else -%}
            {{- part['text'] -}}
        {%- endif -%}
    {%- endfor -%}
    {{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{% endif -%}
"""
TILE, PATCH, TILE_TOKENS = 28, 7, 4  # pixels, pixels, (28 / 7 / 2)^2

TINY = TinyFamily(
    model_type="internvl",
    config={
        "image_token_id": Token("<IMG_CONTEXT>"),
        "image_seq_length": TILE_TOKENS,
        "tie_word_embeddings": False,
        "vision_config": {
            "hidden_size": 32,
            "intermediate_size": 61,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "attention_bias": True,
            "image_size": TILE,
            "patch_size": PATCH,
        },
        "text_config": {
            "model_type": "qwen2",
            **DECODER,
            "bos_token_id": None,
            "eos_token_id": Token("<|im_end|>"),
            "pad_token_id": Token("<|endoftext|>"),
        },
    },
    tokens=("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<video>"),
    eos="<|im_end|>",
    pad="<|endoftext|>",
    named_tokens={
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    },
    chat_template=CHAT_TEMPLATE,
    image_processor={
        "size": {"height": TILE, "width": TILE},
        "max_patches": 4,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    },
    processor={"image_seq_length": TILE_TOKENS},
)
