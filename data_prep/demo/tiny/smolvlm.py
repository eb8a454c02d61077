"""The tiny SmolVLM2: up to 3 x 3 squares and the whole, each with a name that is a token.

The template's format is that of SmolVLM2-2.2B-Instruct's published chat_template.json.
"""

from data_prep.demo.tiny.build import TinyFamily, Token

CHAT_TEMPLATE = """\
{{- '<|im_start|>' -}}
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
    model_type="smolvlm",
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
            "vocab_size": 0,
            "hidden_size": 48,
            "intermediate_size": 91,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 2048,
            "bos_token_id": Token("<|im_start|>"),
            "eos_token_id": Token("<end_of_utterance>"),
            "pad_token_id": Token("<|im_end|>"),
        },
    },
    tokens=(
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        "<fake_token_around_image>",
        "<image>",
        "<end_of_utterance>",
        "<global-img>",
        *(f"<row_{row}_col_{column}>" for row in (1, 2, 3) for column in (1, 2, 3)),
    ),
    bos="<|im_start|>",
    eos="<end_of_utterance>",
    pad="<|im_end|>",
    unk="<|endoftext|>",
    chat_template=CHAT_TEMPLATE,
    image_processor={"size": {"longest_edge": 3 * SQUARE}, "max_image_size": {"longest_edge": SQUARE}},
    processor={"image_seq_len": SQUARE_TOKENS},
)
