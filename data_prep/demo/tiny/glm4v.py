"""The tiny GLM-4.1V: interpolated position embeddings in the tower, two halves of a head with and without rotation.

The template's format is that of GLM-4.1V-9B-Thinking's published chat_template.jinja.
"""

from data_prep.demo.tiny.build import DECODER, TinyFamily, Token

CHAT_TEMPLATE = """\
{{- '[gMASK]<sop>' -}}
{%- for message in messages -%}
    {{- '<|' + message['role'] + '|>\\n' -}}
    {%- if message['role'] == 'assistant' %}{{- message['content'] }}{% endif -%}
    {%- for part in message['content'] if message['role'] != 'assistant' -%}
        {%- if part['type'] == 'image' -%}
            {{- '<|begin_of_image|><|image|><|end_of_image|>' -}}
        {%- else -%}
            {{- part['text'] -}}
        {%- endif -%}
    {%- endfor -%}
{%- endfor -%}
{%- if add_generation_prompt %}{{- '<|assistant|>\\n' }}{% endif -%}
"""

CONFIG = {
    "image_token_id": Token("<|image|>"),
    "video_token_id": Token("<|video|>"),
    "image_start_token_id": Token("<|begin_of_image|>"),
    "image_end_token_id": Token("<|end_of_image|>"),
    "video_start_token_id": Token("<|begin_of_video|>"),
    "video_end_token_id": Token("<|end_of_video|>"),
    "tie_word_embeddings": False,
    "vision_config": {
        "hidden_size": 32,
        "out_hidden_size": 48,
        "intermediate_size": 61,
        "depth": 2,
        "num_heads": 2,
        "image_size": 56,
        "patch_size": 14,
    },
    "text_config": {
        **DECODER,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e4,
            "partial_rotary_factor": 0.5,
            "mrope_section": [1, 1, 1],
        },
        "eos_token_id": Token("<|endoftext|>"),
        "pad_token_id": Token("<|endoftext|>"),
    },
}
TOKENS = (
    "<|endoftext|>",
    "[gMASK]",
    "<sop>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|observation|>",
    "<|begin_of_image|>",
    "<|end_of_image|>",
    "<|begin_of_video|>",
    "<|end_of_video|>",
    "<|image|>",
    "<|video|>",
)

TINY = TinyFamily(
    model_type="glm4v",
    config=CONFIG,
    tokens=TOKENS,
    eos="<|endoftext|>",
    pad="<|endoftext|>",
    chat_template=CHAT_TEMPLATE,
    image_processor={"size": {"shortest_edge": 2 * 28 * 28, "longest_edge": 2 * 16 * 28 * 28}},
    answer_ends=("<|user|>", "<|observation|>"),
)
