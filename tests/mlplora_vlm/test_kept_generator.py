"""A generator kept beside its adapter: another training goes on as if it had never been interrupted."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
from safetensors.torch import load_file, save_file
from tiny_batch import batch
from tiny_llava import build
from transformers import set_seed

from mlplora_vlm.attach import AdapterSection, GeneratorSection, attach
from mlplora_vlm.checkpoint import ADAPTER_FILE, last_checkpoint
from mlplora_vlm.collapse import collapse
from mlplora_vlm.errors import MendableError
from mlplora_vlm.kept_generator import beside, keep_generator, kept_generator, settings_of
from mlplora_vlm.load import ModelSection, load_model
from mlplora_vlm.training import TrainSection, train, training_arguments

ADAPTER = AdapterSection(rank=2, alpha=4, generator=GeneratorSection(hidden=4, z_dim=8))
STEPS = TrainSection(
    max_steps=3, learning_rate=1e-2, batch_size=3, schedule="constant_with_warmup", warmup=0.0, save_steps=3
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return str(build(tmp_path_factory.mktemp("tiny")))


def trained(base, out, steps=3, init_from=None):
    """The adapter's tensors after so many steps on one and the same batch."""
    settings, adapter = replace(STEPS, max_steps=steps), replace(ADAPTER, init_from=init_from and str(init_from))
    arguments = training_arguments(settings, False, out, deepspeed=None)
    model = load_model(base, ModelSection(id=base, dtype="float32"))
    set_seed(0)
    tuned, _ = attach(model, adapter)
    train(tuned, [{}] * 3, lambda rows: batch(), settings, adapter, arguments)
    return load_file(out / "adapter" / ADAPTER_FILE)


@pytest.fixture(scope="module")
def first(base, tmp_path_factory):
    """The folder of an adapter after three steps, its generator beside it."""
    out = tmp_path_factory.mktemp("first")
    trained(base, out)
    collapse(out / "adapter", out / "collapsed", base)
    keep_generator(last_checkpoint(out), out / "collapsed", settings_of(ADAPTER, STEPS))
    return out / "collapsed"


def distance(one, other):
    return max((one[name] - other[name]).norm() / other[name].norm() for name in other)


def test_another_training_goes_on_as_the_same_one_would(base, first, tmp_path):
    whole = trained(base, tmp_path / "whole", 6)
    assert distance(trained(base, tmp_path / "on", init_from=first), whole) <= 1e-6
    shutil.copytree(first, tmp_path / "alone")
    assert distance(trained(base, tmp_path / "anew", init_from=tmp_path / "alone"), whole) > 1e-3, "or it shows nothing"


def test_beside_it_lie_safetensors_and_its_settings(first):
    names = {path.name for path in beside(first).iterdir()}
    assert names == {"generator.json", "optimizer-00001-of-00001.safetensors"}
    assert {path.name for path in first.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}


def test_without_one_or_without_wish_there_is_none(first, tmp_path):
    assert kept_generator(ADAPTER, STEPS) is None
    assert kept_generator(replace(ADAPTER, init_from=str(first), generated=False), STEPS) is None
    assert kept_generator(replace(ADAPTER, init_from=str(tmp_path)), STEPS) is None
    assert kept_generator(replace(ADAPTER, init_from=str(first)), STEPS) == beside(first)


@pytest.mark.parametrize("changed", [{"seed": 1}, {"optimizer": "sgd"}])
def test_other_settings_are_refused(first, changed):
    with pytest.raises(MendableError, match=next(iter(changed))):
        kept_generator(replace(ADAPTER, init_from=str(first)), replace(STEPS, **changed))


def test_another_adapters_generator_is_refused(first, base, tmp_path):
    shutil.copytree(first, tmp_path / "adapter")
    shutil.copytree(beside(first), tmp_path / "adapter-generator")
    file = tmp_path / "adapter" / ADAPTER_FILE
    save_file({name: 2 * tensor for name, tensor in load_file(file).items()}, file)
    with pytest.raises(MendableError, match="belongs to another"):
        kept_generator(replace(ADAPTER, init_from=str(tmp_path / "adapter")), STEPS)
    with pytest.raises(MendableError, match="another adapter"):
        keep_generator(last_checkpoint(first.parent), tmp_path / "adapter", {})
    assert json.loads((beside(first) / "generator.json").read_text())["settings"]["hidden"] == 4
