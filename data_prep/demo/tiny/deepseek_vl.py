"""The tiny DeepSeek-VL: a SigLIP tower of 2 x 2 patches, an aligner of two layers, two Llama layers.

The template's format is that of transformers' tests of the processor: no end token after an answer that stands last.
"""

from data_prep.demo.tiny.build import DECODER, TinyFamily, Token

CHAT_TEMPLATE = """\
{{- 'You are a helpful language and vision assistant. You are able to understand the visual content that the user ' -}}
{{- 'provides, and assist the user with a variety of tasks using natural language.\\n\\n' -}}
{%- for message in messages -%}
    {{- message['role'] | capitalize + ': ' -}}
    {%- for part in message['content'] -%}
        {%- if part['type'] == 'image' -%}
            {{- '<image_placeholder>' -}}
        {%- else -%}
            {{- part['text'] -}}
        {%- endif -%}
    {%- endfor -%}
    {%- if message['role'] == 'user' -%}
        {%- if not loop.last or add_generation_prompt %}{{- '\\n\\n' }}{% endif -%}
    {%- elif not loop.last or add_generation_prompt -%}
        {{- '<｜end▁of▁sentence｜>' -}}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt %}{{- 'Assistant:' }}{% endif -%}
"""
PIXELS, PATCH = 28, 14  # (28 / 14)^2 = 4 picture tokens

TINY = TinyFamily(
    model_type="deepseek_vl",
    config={
        "image_token_id": Token("<image_placeholder>"),
        "tie_word_embeddings": False,
        "vision_config": {
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 61,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": PIXELS,
            "patch_size": PATCH,
            "vision_use_head": False,
        },
        "text_config": {
            "model_type": "llama",
            **DECODER,
            "tie_word_embeddings": False,
            "bos_token_id": Token("<｜begin▁of▁sentence｜>"),
            "eos_token_id": Token("<｜end▁of▁sentence｜>"),
            "pad_token_id": Token("<｜end▁of▁sentence｜>"),
        },
    },
    tokens=("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<image_placeholder>"),
    bos="<｜begin▁of▁sentence｜>",
    eos="<｜end▁of▁sentence｜>",
    pad="<｜end▁of▁sentence｜>",
    named_tokens={"image_token": "<image_placeholder>"},
    adds_bos=True,
    chat_template=CHAT_TEMPLATE,
    image_processor={"size": {"height": PIXELS, "width": PIXELS}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3},
    processor={"num_image_tokens": (PIXELS // PATCH) ** 2},
)
