"""The tiny Idefics3: up to 2 x 2 squares and the whole; a square's name is many tokens, as in Idefics3-8B-Llama3.

The template's format is that of Idefics3-8B-Llama3's published chat_template.json.
"""

from data_prep.demo.tiny.build import DECODER, TinyFamily, Token

CHAT_TEMPLATE = """\
{{- '<|begin_of_text|>' -}}
{%- for message in messages -%}
    {{- message['role'] | capitalize + ':' -}}
    {%- if message['content'][0]['type'] != 'image' %}{{- ' ' }}{% endif -%}
    {%- for part in message['content'] -%}
        {%- if part['type'] == 'image' -%}
            {{- '<image>' -}}
        {%- else -%}
            {{- part['text'] -}}
        {%- endif -%}
    {%- endfor -%}
    {{- '<end_of_utterance>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{- 'Assistant:' }}{% endif -%}
"""
SQUARE, PATCH, SQUARE_TOKENS = 28, 7, 4  # pixels, pixels, (28 / 7 / 2)^2

TINY = TinyFamily(
    model_type="idefics3",
    config={
        "image_token_id": Token("<image>"),
        "scale_factor": 2,
        "tie_word_embeddings": False,
        "vision_config": {
            "hidden_size": 32,
            "intermediate_size": 61,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": SQUARE,
            "patch_size": PATCH,
        },
        "text_config": {
            "model_type": "llama",
            **DECODER,
            "bos_token_id": Token("<|begin_of_text|>"),
            "eos_token_id": Token("<|end_of_text|>"),
            "pad_token_id": Token("<|reserved_special_token_0|>"),
        },
    },
    tokens=(
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|reserved_special_token_0|>",
        "<fake_token_around_image>",
        "<image>",
        "<end_of_utterance>",
    ),
    bos="<|begin_of_text|>",
    eos="<|end_of_text|>",
    pad="<|reserved_special_token_0|>",
    adds_bos=True,
    chat_template=CHAT_TEMPLATE,
    image_processor={"size": {"longest_edge": 2 * SQUARE}, "max_image_size": {"longest_edge": SQUARE}},
    processor={"image_seq_len": SQUARE_TOKENS},
    answer_ends=("<end_of_utterance>",),
)
