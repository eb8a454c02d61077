"""The tiny Granite Vision 4: two tower layers and four offsets of the last, each into a decoder layer of its own.

The template's format is that of Granite 4.1's language models, which join a turn's parts with line breaks, and whose
turns of user and assistant need no system turn; the published one for pictures could not be seen.
"""

from data_prep.demo.tiny.build import TinyFamily, Token

CHAT_TEMPLATE = """\
{%- for message in messages -%}
    {{- '<|start_of_role|>' + message['role'] + '<|end_of_role|>' -}}
    {%- for part in message['content'] -%}
        {%- if part['type'] == 'image' -%}
            {{- '<image>' -}}
        {%- else -%}
            {{- part['text'] -}}
        {%- endif -%}
        {%- if not loop.last %}{{- '\\n' }}{% endif -%}
    {%- endfor -%}
    {{- '<|end_of_text|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{- '<|start_of_role|>assistant<|end_of_role|>' }}{% endif -%}
"""
TILE, PATCH, RATE = 56, 7, "2/4"  # pixels; 8 x 8 patches, of which each window of 4 x 4 becomes 2 x 2 tokens
GRIDS = [[TILE, TILE], [TILE, 2 * TILE], [2 * TILE, TILE], [2 * TILE, 2 * TILE], [3 * TILE, TILE], [TILE, 3 * TILE]]

TINY = TinyFamily(
    model_type="granite4_vision",
    config={
        "image_token_index": Token("<image>"),
        "image_grid_pinpoints": GRIDS,
        "image_seq_length": 16,
        "vision_feature_select_strategy": "full",
        "downsample_rate": RATE,
        "deepstack_layer_map": [[-2, 1], [-1, 0]],
        "spatial_vision_layer": -1,
        "spatial_target_layers": [2, 3, 4, 5],
        "projector_dropout": 0.1,
        "tie_word_embeddings": False,
        "vision_config": {
            "model_type": "siglip_vision_model",
            "hidden_size": 64,  # the Q-Formers have a head for each 64
            "intermediate_size": 61,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": TILE,
            "patch_size": PATCH,
            "vision_use_head": False,
        },
        "qformer_config": {
            "model_type": "blip_2_qformer",
            "num_hidden_layers": 1,
            "intermediate_size": 37,
            "cross_attention_frequency": 1,
            "max_position_embeddings": 2048,
            "use_qformer_text_input": False,
        },
        "text_config": {
            "vocab_size": 0,
            "hidden_size": 48,
            "intermediate_size": 91,
            "num_hidden_layers": 6,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 2048,
            "embedding_multiplier": 12.0,
            "logits_scaling": 10.0,
            "residual_multiplier": 0.22,
            "attention_multiplier": 0.1,
            "tie_word_embeddings": False,
            "bos_token_id": Token("<|end_of_text|>"),
            "eos_token_id": Token("<|end_of_text|>"),
            "pad_token_id": Token("<|pad|>"),
        },
    },
    tokens=("<|end_of_text|>", "<|start_of_role|>", "<|end_of_role|>", "<|pad|>", "<|unk|>", "<image>"),
    eos="<|end_of_text|>",
    pad="<|pad|>",
    unk="<|unk|>",
    chat_template=CHAT_TEMPLATE,
    image_processor={
        "size": {"height": TILE, "width": TILE},
        "crop_size": {"height": TILE, "width": TILE},
        "image_grid_pinpoints": GRIDS,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    },
    processor={
        "patch_size": PATCH,
        "vision_feature_select_strategy": "full",
        "downsample_rate": RATE,
        "image_token": "<image>",
    },
)
