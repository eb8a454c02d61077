"""The tiny Molmo 2: up to four overlapping crops of 5 x 5 patches, two layers of the tower read, 2 x 2 patches a token.

The template's format is that of Molmo 2's published chat_template.jinja, without subtitles and styles.  It writes the
begin of sequence, which is ``<|im_end|>``, itself; where a published one does not, transformers' processor does.
"""

from data_prep.demo.tiny.build import DECODER, TinyFamily, Token

CHAT_TEMPLATE = """\
{{- bos_token -}}
{%- set seen = namespace(pictures=[]) -%}
{%- for message in messages -%}
    {%- for part in message['content'] if part['type'] == 'image' -%}
        {%- set seen.pictures = seen.pictures + [part] -%}
    {%- endfor -%}
{%- endfor -%}
{%- for part in seen.pictures -%}
    {{- ('Image ' ~ loop.index if loop.length > 1 else '') + '<|image|>' -}}
{%- endfor -%}
{%- for message in messages -%}
    {%- if message['role'] == 'user' and not loop.first %}{{- '<|im_end|>\\n' }}{% endif -%}
    {{- '<|im_start|>' + message['role'] + '\\n' -}}
    {{- message['content'] | selectattr('type', 'eq', 'text') | map(attribute='text') | join(' ') -}}
    {%- if message['role'] == 'user' %}{{- '<|im_end|>\\n' }}{% endif -%}
{%- endfor -%}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{% endif -%}
"""

SIDE, PATCH = 20, 4  # pixels

TINY = TinyFamily(
    model_type="molmo2",
    config={
        "image_start_token_id": Token("<im_start>"),
        "low_res_image_start_token_id": Token("<low_res_im_start>"),
        "image_end_token_id": Token("<im_end>"),
        "image_patch_id": Token("<im_patch>"),
        "frame_start_token_id": Token("<frame_start>"),
        "frame_end_token_id": Token("<frame_end>"),
        "tie_word_embeddings": False,
        "vision_config": {
            "hidden_size": 32,
            "intermediate_size": 61,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "image_size": [SIDE, SIDE],
            "patch_size": PATCH,
            "initializer_range": 0.2,
        },
        "adapter_config": {
            "vision_feature_layer": [2, 0],
            "hidden_size": 32,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "intermediate_size": 53,
            "text_hidden_size": 48,
            "initializer_range": 0.2,  # with 0.02 nothing would be left of a picture behind so many layers
        },
        "text_config": {
            **DECODER,
            "additional_vocab_size": 8,
            "head_dim": 12,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
            "bos_token_id": Token("<|im_end|>"),
            "eos_token_id": Token("<|im_end|>"),
            "pad_token_id": Token("<|endoftext|>"),
        },
    },
    tokens=(
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        "<im_start>",
        "<im_end>",
        "<im_patch>",
        "<im_col>",
        "<low_res_im_start>",
        "<|image|>",
        "<im_low>",
        "<frame_start>",
        "<frame_end>",
        "<|video|>",
    ),
    bos="<|im_end|>",
    eos="<|im_end|>",
    pad="<|endoftext|>",
    chat_template=CHAT_TEMPLATE,
    image_processor={
        "size": {"height": SIDE, "width": SIDE},
        "patch_size": PATCH,
        "overlap_margins": [1, 1],
        "max_crops": 4,
    },
    processor={"use_single_crop_col_tokens": False},
)
