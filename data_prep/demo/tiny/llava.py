"""The tiny LLaVA-1.5: two Llama layers of width 48 behind a CLIP tower of width 32."""

from pathlib import Path

from data_prep.demo.tiny.build import DECODER, TinyFamily, Token

PIXELS, PATCH = 28, 14  # (28 / 14)^2 = 4 picture tokens
SIDE = {"height": PIXELS, "width": PIXELS}

TINY = TinyFamily(
    model_type="llava",
    config={
        "image_token_index": Token("<image>"),
        "image_seq_length": (PIXELS // PATCH) ** 2,
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
        "tie_word_embeddings": False,
        "bos_token_id": Token("<|im_start|>"),
        "eos_token_id": Token("<|im_end|>"),
        "pad_token_id": Token("<pad>"),
        "vision_config": {
            "model_type": "clip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 61,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": PIXELS,
            "patch_size": PATCH,
            "projection_dim": 32,
        },
        "text_config": {
            "model_type": "llama",
            **DECODER,
            "tie_word_embeddings": False,
            "bos_token_id": Token("<|im_start|>"),
            "eos_token_id": Token("<|im_end|>"),
            "pad_token_id": Token("<pad>"),
        },
    },
    tokens=("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<pad>", "<image>"),
    bos="<|im_start|>",
    eos="<|im_end|>",
    pad="<pad>",
    unk="<|endoftext|>",
    chat_template=Path(__file__).parent.with_name("chat_template.jinja").read_text(encoding="utf-8"),
    image_processor={"size": SIDE, "crop_size": SIDE, "do_center_crop": False},
    processor={
        "patch_size": PATCH,
        "vision_feature_select_strategy": "default",
        "num_additional_image_tokens": 1,  # the class token, which "default" leaves out again
        "image_token": "<image>",
    },
)
