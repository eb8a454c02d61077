"""The tiny LLaVA, its rows and the training settings that the parity tests and their torchrun worker share."""

from __future__ import annotations

from pathlib import Path

import torch

from mlplora_vlm.attach import AdapterSection, GeneratorSection
from mlplora_vlm.training import TrainSection

ROWS, STEPS, ACCUMULATION, PICTURE_TOKENS, VOCAB = 8, 6, 2, 4, 61
ADAPTER = AdapterSection(rank=3, alpha=6, generator=GeneratorSection(hidden=5, z_dim=7))


def settings(stage: int, world: int, **changes) -> TrainSection:
    """One optimizer step sees every row once, whatever the number of processes."""
    values = {
        "learning_rate": 1e-2, "max_steps": STEPS, "batch_size": ROWS // ACCUMULATION // world, "warmup": 0.34,
        "gradient_accumulation": ACCUMULATION, "weight_decay": 0.1, "adam_eps": 1e-6, "max_grad_norm": 0.0,
        "schedule": "linear", "zero_stage": stage, "processes": world, "save_steps": 3, "keep_checkpoints": 9,
    }  # fmt: skip
    return TrainSection(**(values | changes))


def save_base(folder: Path) -> None:
    """A random LLaVA whose layer sizes divide by nothing, so that every way of sharding needs padding."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

    torch.manual_seed(0)
    text = LlamaConfig(
        vocab_size=VOCAB, hidden_size=18, intermediate_size=33, num_hidden_layers=2, num_attention_heads=3,
        num_key_value_heads=1, max_position_embeddings=64, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    vision = CLIPVisionConfig(
        hidden_size=15, intermediate_size=17, num_hidden_layers=2, num_attention_heads=3, image_size=28, patch_size=14,
        projection_dim=8,
    )  # fmt: skip
    config = LlavaConfig(
        text_config=text, vision_config=vision, image_token_index=VOCAB - 1, image_seq_length=PICTURE_TOKENS
    )
    LlavaForConditionalGeneration(config).save_pretrained(folder)


def rows() -> list[dict[str, torch.Tensor]]:
    """Questions of one length with pictures and answers of 2 to 5 tokens, so that token and row means differ."""
    random = torch.Generator().manual_seed(1)
    made = []
    for i in range(ROWS):
        ids = torch.randint(3, VOCAB - 1, (14,), generator=random)
        ids[1 : 1 + PICTURE_TOKENS] = VOCAB - 1
        labels = torch.full_like(ids, -100)
        labels[-(2 + i % 4) :] = ids[-(2 + i % 4) :]
        pixels = torch.randn(3, 28, 28, generator=random)
        made.append(
            {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels, "pixel_values": pixels}
        )
    return made


def collate(examples: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {key: torch.stack([example[key] for example in examples]) for key in examples[0]}
