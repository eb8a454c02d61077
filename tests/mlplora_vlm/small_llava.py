"""A LLaVA between tiny and real, for what is measured in bytes."""

import torch
from transformers import LlavaConfig, LlavaForConditionalGeneration

IMAGE = 5
"""The picture token's id."""


def small_llava(dtype: torch.dtype = torch.float32) -> LlavaForConditionalGeneration:
    """Large enough that the tensors which grow with the batch are most of what is kept."""
    config = LlavaConfig(
        vision_config={
            "model_type": "clip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "image_size": 56,
            "patch_size": 14,
        },
        text_config={
            "model_type": "llama",
            "vocab_size": 1000,
            "hidden_size": 128,
            "intermediate_size": 344,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
        },
        image_token_index=IMAGE,
        image_seq_length=16,
    )
    torch.manual_seed(0)
    model: LlavaForConditionalGeneration = LlavaForConditionalGeneration._from_config(config, dtype=dtype)
    return model
