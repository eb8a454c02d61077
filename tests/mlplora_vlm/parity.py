"""The tiny LLaVA, its rows, the cases and their settings: what parity tests, their workers and their oracle share."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mlplora_vlm.attach import AdapterSection, GeneratorSection
from mlplora_vlm.load import ModelSection, load_model
from mlplora_vlm.training import TrainSection

ROWS, STEPS, ACCUMULATION, PICTURE_TOKENS, VOCAB = 8, 6, 2, 4, 61
GENERATOR = GeneratorSection(hidden=5, z_dim=7)
ZERO = ("zero0", "zero1", "zero2", "zero3")

QUANTIZED = ("nf4", "fp4", "int8")


@dataclass(frozen=True)
class Case:
    """One training run."""

    name: str
    engine: str
    """loop, trainer (plain under one process, DDP under two), fsdp2, or zero0 to zero3."""
    train: dict[str, Any] = field(default_factory=dict)
    """Over the common `TrainSection`."""
    adapter: dict[str, Any] = field(default_factory=dict)
    """Over the common `AdapterSection`."""
    generator: dict[str, Any] = field(default_factory=dict)
    """Over the common `GeneratorSection`."""
    zero: dict[str, Any] = field(default_factory=dict)
    """Over the `zero_optimization` block of the DeepSpeed configuration."""
    precision: str = "float32"
    """float32, bfloat16, or how the base is quantized (float32 arithmetic)."""
    broken: str = ""
    """A part of the method that is put out of action, to see the harness fail."""
    record: bool = False
    """Write down the gradients that the engine hands over."""
    folder: str = ""
    """The training folder, where cases share one to go on from each other."""
    stop_at: int = 0
    """Stop after this step, as a killed run does."""

    def settings(self, world: int) -> TrainSection:
        """One optimizer step sees every row once, whatever the number of processes."""
        values = {
            "learning_rate": 1e-2, "max_steps": STEPS, "batch_size": ROWS // ACCUMULATION // world, "warmup": 0.34,
            "gradient_accumulation": ACCUMULATION, "weight_decay": 0.1, "adam_eps": 1e-6, "max_grad_norm": 0.0,
            "schedule": "linear", "zero_stage": int(self.engine[-1]) if self.engine in ZERO else 0, "processes": world,
            "save_steps": 3, "keep_checkpoints": 9,
        }  # fmt: skip
        return TrainSection(**(values | self.train))

    def adapter_section(self) -> AdapterSection:
        generator = dataclasses.replace(GENERATOR, **self.generator)
        values = {"rank": 3, "alpha": 6, "generator": generator}
        return AdapterSection(**(values | {k: tuple(v) if isinstance(v, list) else v for k, v in self.adapter.items()}))


def load_base(folder: Path, precision: str) -> Any:
    """The tiny LLaVA as a case wants it."""
    model = ModelSection(
        id=str(folder),
        dtype="bfloat16" if precision == "bfloat16" else "float32",
        quantization=precision if precision in QUANTIZED else "none",  # type: ignore[arg-type]
    )
    return load_model(str(folder), model)


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
