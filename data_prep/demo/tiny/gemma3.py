"""The tiny Gemma 3: sliding-window and full attention, 4 x 4 patches of the tower pooled to four picture tokens.

The template's format is that of Gemma 3's published chat_template.json, without system messages.
"""

from data_prep.demo.tiny.build import TinyFamily, Token

PIXELS, PATCH = 56, 14

CHAT_TEMPLATE = """\
{{- bos_token -}}
{%- for message in messages -%}
    {{- '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\\n' -}}
    {%- for part in message['content'] -%}
        {%- if part['type'] == 'image' -%}
            {{- '<start_of_image>' -}}
        {%- else -%}
            {{- part['text'] | trim -}}
        {%- endif -%}
    {%- endfor -%}
    {{- '<end_of_turn>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{- '<start_of_turn>model\\n' }}{% endif -%}
"""

TINY = TinyFamily(
    model_type="gemma3",
    config={
        "image_token_index": Token("<image_soft_token>"),
        "boi_token_index": Token("<start_of_image>"),
        "eoi_token_index": Token("<end_of_image>"),
        "mm_tokens_per_image": 4,
        "tie_word_embeddings": True,
        "bos_token_id": Token("<bos>"),
        "eos_token_id": Token("<eos>"),
        "pad_token_id": Token("<pad>"),
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
            "vocab_size": 0,
            "hidden_size": 48,
            "intermediate_size": 91,
            "num_hidden_layers": 3,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 12,
            "query_pre_attn_scalar": 12,
            "sliding_window": 16,
            "max_position_embeddings": 2048,
            "bos_token_id": Token("<bos>"),
            "eos_token_id": Token("<eos>"),
            "pad_token_id": Token("<pad>"),
        },
    },
    tokens=(
        "<pad>",
        "<eos>",
        "<bos>",
        "<unk>",
        "<start_of_turn>",
        "<end_of_turn>",
        "<start_of_image>",
        "<end_of_image>",
        "<image_soft_token>",
    ),
    bos="<bos>",
    eos="<eos>",
    pad="<pad>",
    unk="<unk>",
    named_tokens={
        "boi_token": "<start_of_image>",
        "eoi_token": "<end_of_image>",
        "image_token": "<image_soft_token>",
    },
    adds_bos=True,
    chat_template=CHAT_TEMPLATE,
    image_processor={"size": {"height": PIXELS, "width": PIXELS}},
    processor={"image_seq_length": 4},
    answer_ends=("<end_of_turn>",),
)
