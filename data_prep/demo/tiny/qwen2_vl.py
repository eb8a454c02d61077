"""The tiny Qwen2-VL: full attention in the tower, 2 x 2 patches a token, three-part rotary positions.

The published chat_template.json is word for word that of Qwen2.5-VL.
"""

from data_prep.demo.tiny.build import DECODER, TinyFamily, Token
from data_prep.demo.tiny.qwen2_5_vl import CHAT_TEMPLATE

TINY = TinyFamily(
    model_type="qwen2_vl",
    config={
        "image_token_id": Token("<|image_pad|>"),
        "video_token_id": Token("<|video_pad|>"),
        "vision_start_token_id": Token("<|vision_start|>"),
        "vision_end_token_id": Token("<|vision_end|>"),
        "tie_word_embeddings": False,
        "vision_config": {
            "embed_dim": 32,
            "hidden_size": 48,
            "mlp_ratio": 2,
            "depth": 2,
            "num_heads": 2,
            "patch_size": 14,
        },
        "text_config": {
            **DECODER,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 2, 2]},
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
    image_processor={"size": {"shortest_edge": 28 * 28, "longest_edge": 16 * 28 * 28}},
)
