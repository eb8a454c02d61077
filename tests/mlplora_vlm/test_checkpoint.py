"""Which checkpoint is whole, and an adapter file's tensors back in the model that trained them."""

from __future__ import annotations

import json
from pathlib import Path

import parity
import pytest
import torch
from lora_net import FORM, network
from safetensors.torch import load_file, save_file

from mlplora_vlm.attach import attach
from mlplora_vlm.checkpoint import last_checkpoint, load_adapter, load_tensors
from mlplora_vlm.errors import MendableError
from mlplora_vlm.optimizer import GeneratedAdapterOptimizer, adapter_groups
from mlplora_vlm.states import save_states


def checkpoint(folder: Path, step: int) -> Path:
    """As the Trainer leaves it: optimizer, random state, and the Trainer's own progress last."""
    made = folder / f"checkpoint-{step}"
    save_states(GeneratedAdapterOptimizer(adapter_groups(network(33, 11)), **FORM), made, "NO", sharded=True)
    (made / "rng_state.pth").touch()
    (made / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return made


@pytest.mark.parametrize("lost", ["trainer_state.json", "rng_state.pth", "optimizer-00001-of-00001.safetensors"])
def test_a_checkpoint_that_was_cut_short_is_passed_over(tmp_path, lost):
    whole, short = checkpoint(tmp_path, 9), checkpoint(tmp_path, 10)
    assert last_checkpoint(tmp_path) == short, "by number, not by name"
    (short / lost).unlink()
    assert last_checkpoint(tmp_path) == whole
    (whole / "trainer_state.json").write_text('{"global_')
    assert last_checkpoint(tmp_path) is None
    assert last_checkpoint(tmp_path / "nothing") is None


def test_a_missing_process_makes_it_short(tmp_path):
    made = checkpoint(tmp_path, 3)
    (made / "optimizer-00001-of-00001.safetensors").rename(made / "optimizer-00001-of-00002.safetensors")
    assert last_checkpoint(tmp_path) is None


@pytest.mark.parametrize("adapter", [{"kind": "lora"}, {"kind": "dora"}, {"kind": "vera"},
                                     {"kind": "lora", "on": ["language"], "full": ["projector"]}], ids=str)  # fmt: skip
def test_saved_tensors_come_back_to_their_own_places(tmp_path, adapter):
    parity.save_base(tmp_path / "base")
    section = parity.Case("x", "loop", adapter=adapter).adapter_section()
    model, _ = attach(parity.load_base(tmp_path / "base", "float32"), section)
    for p in model.parameters():
        if p.requires_grad:
            p.data.normal_()
    wanted = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    model.save_pretrained(tmp_path / "saved")
    for p in model.parameters():
        if p.requires_grad:
            p.data.zero_()
    load_adapter(model, tmp_path / "saved")
    for name, p in model.named_parameters():
        if p.requires_grad:
            assert torch.equal(p, wanted[name]), name
    tensors = load_file(tmp_path / "saved" / "adapter_model.safetensors")
    tensors.pop(max(name for name in tensors if not name.endswith(("vera_A", "vera_B"))))
    save_file(tensors | {"odd": torch.zeros(2)}, tmp_path / "saved" / "adapter_model.safetensors")
    with pytest.raises(MendableError, match=r"missing \['.+'\], unknown \['odd'\]"):
        load_tensors(model, load_file(tmp_path / "saved" / "adapter_model.safetensors"), "here")
    with pytest.raises(MendableError, match=r"1 unknown: odd"):
        load_adapter(model, tmp_path / "saved")
