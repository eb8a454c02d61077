"""A run that stopped while B was still 0 (the warm-up's first step has a learning rate of 0) resumes to the bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
import torch
from safetensors.torch import load_file
from tiny_batch import batch
from tiny_llava import build
from transformers import set_seed

from mlplora_vlm.attach import AdapterSection, GeneratorSection, attach
from mlplora_vlm.errors import MendableError
from mlplora_vlm.load import ModelSection, load_model
from mlplora_vlm.trainer import GeneratedAdapterTrainer
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


@pytest.mark.parametrize("damage", [{"lr_lambdas": None}, {"base_lrs": [1.0]}, {"last_epoch": "one"}])
def test_a_schedule_of_another_training_is_refused_by_its_key(tmp_path: Path, damage: dict[str, Any]) -> None:
    trainer: Any = GeneratedAdapterTrainer.__new__(GeneratedAdapterTrainer)
    optimizer = torch.optim.SGD([{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)]}], lr=0.1)
    trainer.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    trainer.generated, trainer.is_deepspeed_enabled = SimpleNamespace(zero_stage=0), True
    trainer.accelerator = SimpleNamespace(distributed_type=SimpleNamespace(value="NO"))
    saved = trainer.lr_scheduler.state_dict()
    (tmp_path / "scheduler.json").write_text(json.dumps(saved | damage))
    with patch("mlplora_vlm.trainer.load_states"), pytest.raises(MendableError, match=next(iter(damage))) as error:
        trainer._load_optimizer_and_scheduler(str(tmp_path))
    assert error.value.where == str(tmp_path / "scheduler.json")
