"""Saving an adapter under ZeRO 0-2 copies the adapter, and no weight of the base."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_llava import build

from mlplora_vlm.attach import AdapterSection, attach
from mlplora_vlm.load import ModelSection, load_model
from mlplora_vlm.trainer import GeneratedAdapterTrainer


@pytest.mark.parametrize("should_save", [True, False])
def test_only_what_is_trained_is_copied(tmp_path: Path, should_save: bool) -> None:
    base = str(build(tmp_path / "base"))
    model, _ = attach(load_model(base, ModelSection(id=base, dtype="float32")), AdapterSection(rank=3))
    trainer: Any = GeneratedAdapterTrainer.__new__(GeneratedAdapterTrainer)
    trainer.is_deepspeed_enabled, trainer.generated = True, SimpleNamespace(zero_stage=2)
    trainer.args, trainer.model = SimpleNamespace(should_save=should_save, output_dir="x"), model
    trainer.accelerator = SimpleNamespace(unwrap_model=lambda given: given)
    saved: list[tuple[str, dict[str, torch.Tensor]]] = []
    trainer._save = lambda folder, state_dict: saved.append((folder, state_dict))
    trainer.save_model("there")
    if not should_save:
        assert saved == []
        return
    [(folder, state)] = saved
    own = model.state_dict()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert folder == "there" and state.keys() == own.keys() and trained
    for name, tensor in state.items():
        assert torch.equal(tensor, own[name])
        assert (tensor.data_ptr() == own[name].data_ptr()) == (name not in trained), name
