"""A run that stopped while B was still 0 (the warm-up's first step has a learning rate of 0) resumes to the bit."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file
from tiny_batch import batch
from tiny_llava import build
from transformers import set_seed

from mlplora_vlm.attach import AdapterSection, GeneratorSection, attach
from mlplora_vlm.load import ModelSection, load_model
from mlplora_vlm.training import TrainSection, train, training_arguments

ADAPTER = AdapterSection(rank=2, alpha=4, generator=GeneratorSection(hidden=4, z_dim=8))
STEPS = TrainSection(max_steps=3, learning_rate=1e-2, batch_size=3, save_steps=1, keep_checkpoints=9)


def trained(base: Path, out: Path) -> dict[str, torch.Tensor]:
    arguments = training_arguments(STEPS, False, out, deepspeed=None)
    model = load_model(str(base), ModelSection(id=str(base), dtype="float32"))
    set_seed(0)
    tuned, _ = attach(model, ADAPTER)
    train(tuned, [{}] * 3, lambda rows: batch(), STEPS, ADAPTER, arguments)
    return load_file(out / "adapter" / "adapter_model.safetensors")


def test_resumed_after_the_first_step_equals_uninterrupted(tmp_path: Path) -> None:
    base = build(tmp_path / "base")
    whole = trained(base, tmp_path / "train")
    first = load_file(tmp_path / "train" / "checkpoint-1" / "adapter_model.safetensors")
    assert not any(tensor.any() for name, tensor in first.items() if ".lora_B." in name)
    for left in ("checkpoint-2", "checkpoint-3", "adapter"):
        shutil.rmtree(tmp_path / "train" / left)
    resumed = trained(base, tmp_path / "train")
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
