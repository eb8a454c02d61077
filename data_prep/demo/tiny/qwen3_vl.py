"""The tiny Qwen3-VL: deepstack features of one tower layer, interpolated position embeddings, interleaved rotary parts.

The template's format is that of Qwen3-VL-Instruct's published chat_template.json: no system turn of its own.
"""

from data_prep.demo.tiny.build import TinyFamily, Token

CHAT_TEMPLATE = """\
{%- for message in messages -%}
    {{- '<|im_start|>' + message['role'] + '\\n' -}}
    {%- for part in message['content'] -%}
        {%- if part['type'] == 'image' -%}
            {{- '<|vision_start|><|image_pad|><|vision_end|>' -}}
        {%- else -%}
            {{- part['text'] -}}
        {%- endif -%}
    {%- endfor -%}
    {{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{% endif -%}
"""

TINY = TinyFamily(
    model_type="qwen3_vl",
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
            "depth": 3,
            "num_heads": 2,
            "patch_size": 16,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0, 1],
        },
        "text_config": {
            "vocab_size": 0,
            "hidden_size": 48,
            "intermediate_size": 91,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 12,
            "max_position_embeddings": 2048,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 5e6,
                "mrope_section": [2, 2, 2],
                "mrope_interleaved": True,
            },
            "bos_token_id": None,
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
