"""The tiny Qwen3.5: two layers of gated linear attention and one of gated full attention.

The template's format is that of the published chat_template.jinja without thinking, which is the default of the 0.8B
and 2B models and enable_thinking=False of the others: an empty block of thoughts opens the answer.
"""

from data_prep.demo.tiny.build import TinyFamily, Token

CHAT_TEMPLATE = """\
{%- for message in messages -%}
    {{- '<|im_start|>' + message['role'] + '\\n' -}}
    {%- if message['role'] == 'assistant' %}{{- '<think>\\n\\n</think>\\n\\n' }}{% endif -%}
    {%- for part in message['content'] -%}
        {%- if part['type'] == 'image' -%}
            {{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
        {%- else -%}
            {{- part['text'] -}}
        {%- endif -%}
    {%- endfor -%}
    {{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- '<|im_start|>assistant\\n<think>\\n' + ('\\n</think>\\n\\n' if enable_thinking is false else '') -}}
{%- endif -%}
"""

TINY = TinyFamily(
    model_type="qwen3_5",
    config={
        "image_token_id": Token("<|image_pad|>"),
        "video_token_id": Token("<|video_pad|>"),
        "vision_start_token_id": Token("<|vision_start|>"),
        "vision_end_token_id": Token("<|vision_end|>"),
        "tie_word_embeddings": False,
        "vision_config": {
            "hidden_size": 32,
            "out_hidden_size": 48,
            "intermediate_size": 61,
            "depth": 2,
            "num_heads": 2,
            "patch_size": 16,
            "num_position_embeddings": 16,
        },
        "text_config": {
            "vocab_size": 0,
            "hidden_size": 48,
            "intermediate_size": 91,
            "num_hidden_layers": 3,
            "layer_types": ["linear_attention", "linear_attention", "full_attention"],
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 10,
            "max_position_embeddings": 2048,
            "tie_word_embeddings": False,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e7,
                "partial_rotary_factor": 0.75,
                "mrope_section": [2, 2, 2],
                "mrope_interleaved": True,
            },
            "eos_token_id": Token("<|im_end|>"),
            "pad_token_id": Token("<|endoftext|>"),
        },
    },
    tokens=(
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|image_pad|>",
        "<|video_pad|>",
    ),
    eos="<|im_end|>",
    pad="<|endoftext|>",
    chat_template=CHAT_TEMPLATE,
    image_processor={
        "patch_size": 16,
        "size": {"shortest_edge": 32 * 32, "longest_edge": 16 * 32 * 32},
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    },
)
