"""Which checkpoint is whole, and an adapter file's tensors back in the model that trained them."""

from __future__ import annotations

import shutil
from pathlib import Path

import parity
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_batch import batch
from tiny_llava import build
from transformers import set_seed

from mlplora_vlm.attach import AdapterSection, GeneratorSection, attach
from mlplora_vlm.checkpoint import ADAPTER_FILE, last_checkpoint, load_adapter, load_tensors
from mlplora_vlm.errors import MendableError
from mlplora_vlm.load import ModelSection, load_model
from mlplora_vlm.training import TrainSection, train, training_arguments

ADAPTER = AdapterSection(rank=2, alpha=4, generator=GeneratorSection(hidden=4, z_dim=8))
SETTINGS = TrainSection(max_steps=2, learning_rate=1e-2, batch_size=3, save_steps=1)


def trained(out: Path) -> dict[str, torch.Tensor]:
    """The adapter after two steps on one batch; goes on from what is in ``out``."""
    base = str(build(out / "base")) if not (out / "base").exists() else str(out / "base")
    arguments = training_arguments(SETTINGS, False, out / "train", deepspeed=None)
    model = load_model(base, ModelSection(id=base, dtype="float32"))
    set_seed(0)
    tuned, _ = attach(model, ADAPTER)
    train(tuned, [{}] * 3, lambda rows: batch(), SETTINGS, ADAPTER, arguments)
    return load_file(out / "train" / "adapter" / ADAPTER_FILE)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run with two checkpoints, as the Trainer leaves it."""
    out = tmp_path_factory.mktemp("run")
    trained(out)
    return out


@pytest.fixture
def checkpoints(run, tmp_path):
    """Two whole checkpoints, whose names sort the other way round."""
    for old, new in ((1, 9), (2, 10)):
        shutil.copytree(run / "train" / f"checkpoint-{old}", tmp_path / f"checkpoint-{new}")
    return tmp_path / "checkpoint-9", tmp_path / "checkpoint-10"


OPTIMIZER = "optimizer-00001-of-00001.safetensors"
READ = ("trainer_state.json", "rng_state.pth", "scheduler.json", ADAPTER_FILE, "adapter_config.json", OPTIMIZER)
"""What resuming reads."""


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def lfs_pointer(path: Path) -> None:
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n")


@pytest.mark.parametrize("damage", [Path.unlink, cut, emptied, lfs_pointer], ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", READ)
def test_the_newest_whole_checkpoint_is_taken_and_others_are_named(checkpoints, capsys, name, damage):
    older, newer = checkpoints
    assert last_checkpoint(older.parent) == newer, "by number, not by name"
    assert capsys.readouterr().out == ""
    damage(newer / name)
    assert last_checkpoint(older.parent) == older
    said = capsys.readouterr().out
    assert f"skipping {newer}" in said and (name in said or "optimizer files" in said or "rng_state" in said)
    damage(older / name)
    assert last_checkpoint(older.parent) is None


def test_other_folders_are_no_checkpoints(checkpoints):
    older, newer = checkpoints
    for name in ("checkpoint-tmp", "checkpoint-11.part", "checkpoint-"):
        shutil.copytree(newer, newer.with_name(name))
    newer.with_name("checkpoint-12").touch()
    assert last_checkpoint(older.parent) == newer
    assert last_checkpoint(older / "nothing") is None


def test_a_missing_process_makes_it_short(checkpoints):
    older, newer = checkpoints
    (newer / OPTIMIZER).rename(newer / "optimizer-00001-of-00002.safetensors")
    assert last_checkpoint(older.parent) == older
    (older / OPTIMIZER).rename(older / "optimizer-x-of-y.safetensors")
    assert last_checkpoint(older.parent) is None


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    wanted = load_file(run / "train" / "adapter" / ADAPTER_FILE)
    damaged = tmp_path / "run" / "train" / "checkpoint-2"
    cut(damaged / OPTIMIZER)
    for name in ("optimizer-00002-of-00002.safetensors", "rng_state_1.pth"):
        (damaged / name).touch()  # of another number of processes
    got = trained(tmp_path / "run")
    said = capsys.readouterr().out
    assert "skipping" in said and f"resuming from {tmp_path / 'run' / 'train' / 'checkpoint-1'}" in said
    assert all((got[name] - wanted[name]).norm() <= 1e-3 * wanted[name].norm() for name in wanted)
    assert last_checkpoint(tmp_path / "run" / "train").name == "checkpoint-2", "written again"


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
