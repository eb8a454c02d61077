"""The tiny Gemma 4 E2B: per-layer embeddings, keys and values shared by the last two layers, an unused audio tower.

The template's format is that of Gemma 4 E2B's published chat_template.jinja, without system turns, tools and thought.
"""

from data_prep.demo.tiny.build import VOCABULARY, TinyFamily, Token

CHAT_TEMPLATE = """\
{{- bos_token -}}
{%- for message in messages -%}
    {{- '<|turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\\n' -}}
    {%- for part in message['content'] -%}
        {%- if part['type'] == 'image' -%}
            {{- '<|image|>' -}}
        {%- else -%}
            {{- part['text'] | trim -}}
        {%- endif -%}
    {%- endfor -%}
    {{- '<turn|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{- '<|turn>model\\n' }}{% endif -%}
"""

TINY = TinyFamily(
    model_type="gemma4",
    config={
        "image_token_id": Token("<|image|>"),
        "boi_token_id": Token("<|image>"),
        "eoi_token_id": Token("<image|>"),
        "video_token_id": Token("<|video|>"),
        "audio_token_id": Token("<|audio|>"),
        "boa_token_id": Token("<|audio>"),
        "eoa_token_index": Token("<audio|>"),
        "tie_word_embeddings": True,
        "vision_config": {
            "hidden_size": 32,
            "intermediate_size": 61,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "patch_size": 4,
            "pooling_kernel_size": 3,
            "position_embedding_size": 256,
            "use_clipped_linears": True,
        },
        "audio_config": {
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "subsampling_conv_channels": [8, 4],
            "output_proj_dims": 40,
        },
        "text_config": {
            "vocab_size": 0,
            "vocab_size_per_layer_input": VOCABULARY,
            "hidden_size": 48,
            "hidden_size_per_layer_input": 7,
            "intermediate_size": 91,
            "num_hidden_layers": 4,
            "layer_types": ["sliding_attention", "full_attention"] * 2,
            "num_kv_shared_layers": 2,
            "use_double_wide_mlp": True,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 12,
            "global_head_dim": 16,
            "sliding_window": 16,
            "final_logit_softcapping": 30.0,
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
        "<|turn>",
        "<turn|>",
        "<|image>",
        "<|image|>",
        "<image|>",
        "<|video|>",
        "<|audio>",
        "<|audio|>",
        "<audio|>",
    ),
    bos="<bos>",
    eos="<eos>",
    pad="<pad>",
    unk="<unk>",
    named_tokens={
        "image_token": "<|image|>",
        "boi_token": "<|image>",
        "eoi_token": "<image|>",
        "audio_token": "<|audio|>",
        "boa_token": "<|audio>",
        "eoa_token": "<audio|>",
    },
    chat_template=CHAT_TEMPLATE,
    image_processor={"patch_size": 4, "pooling_kernel_size": 3, "max_soft_tokens": 140},
    processor={"image_seq_length": 140},
    answer_ends=("<turn|>",),
)
