"""The tiny LLaVA-OneVision: grids of up to nine tiles of 3 x 3 features, shrunk where they exceed four tiles' worth.

The chat template is the card's.
"""

from data_prep.demo.tiny.build import DECODER, TinyFamily, Token

TILE = 42  # pixels; 3 x 3 patches of 14
GRIDS = [[rows * TILE, columns * TILE] for rows in (1, 2, 3) for columns in (1, 2, 3)]

TINY = TinyFamily(
    model_type="llava_onevision",
    config={
        "image_token_index": Token("<image>"),
        "video_token_index": Token("<video>"),
        "image_grid_pinpoints": GRIDS,
        "vision_aspect_ratio": "anyres_max_4",
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "full",
        "tie_word_embeddings": False,
        "vision_config": {
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 61,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": TILE,
            "patch_size": 14,
            "vision_use_head": False,
        },
        "text_config": {
            "model_type": "qwen2",
            **DECODER,
            "bos_token_id": None,
            "eos_token_id": Token("<|im_end|>"),
            "pad_token_id": Token("<|endoftext|>"),
        },
    },
    tokens=("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>"),
    eos="<|im_end|>",
    pad="<|endoftext|>",
    chat_template=None,
    image_processor={
        "size": {"height": TILE, "width": TILE},
        "image_grid_pinpoints": GRIDS,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    },
    processor={
        "num_image_tokens": 9,
        "vision_feature_select_strategy": "full",
        "vision_aspect_ratio": "anyres_max_4",
        "image_token": "<image>",
        "video_token": "<video>",
    },
)
