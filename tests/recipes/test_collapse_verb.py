"""The verb collapse: runs, training folders and checkpoints in; a stock adapter out, and mistakes with their remedy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from data_prep.demo.models import model_path
from mlplora_vlm.checkpoint import ADAPTER_FILE
from mlplora_vlm.load import ModelSection, load_model
from recipes.__main__ import main
from recipes.recipe import load_recipe

NAME = "base_model.model.model.language_model.layers.0.self_attn.q_proj"
RECIPE = Path(__file__).parents[2] / "recipes" / "llava_vqa.yaml"


def adapter(folder):
    """What a training of one layer leaves."""
    from peft import LoraConfig, get_peft_model

    path = model_path("demo/tiny-llava")
    config = LoraConfig(r=3, lora_alpha=6, target_modules=[NAME.removeprefix("base_model.model.")])
    tuned = get_peft_model(load_model(path, ModelSection(path, dtype="float32")), config)
    with torch.no_grad():
        tuned.get_submodule(f"{NAME}.lora_B.default").weight.normal_()
    tuned.save_pretrained(folder)
    (folder / "README.md").unlink()
    return load_file(folder / ADAPTER_FILE)


@pytest.fixture
def run(tmp_path):
    """A run that has just ended: its recipe, one checkpoint of two processes, and the trained adapter."""
    out = tmp_path / "out"
    tensors = adapter(out / "train" / "adapter")
    load_recipe(RECIPE, "smoke").dump_resolved(out / "resolved.yaml")
    checkpoint = out / "train" / "checkpoint-8"
    shutil.copytree(out / "train" / "adapter", checkpoint)
    for rank in (1, 2):
        told = json.dumps({"layout": "DEEPSPEED 2", "processes": 2, "param_groups": [], "values": {}})
        save_file({"x": torch.ones(rank)}, checkpoint / f"optimizer-{rank:05d}-of-00002.safetensors", {"state": told})
        torch.save({}, checkpoint / f"rng_state_{rank - 1}.pth")
    (checkpoint / "scheduler.json").write_text("{}")
    (checkpoint / "trainer_state.json").write_text('{"global_step": 8}')
    return out, tensors


@pytest.mark.parametrize("source", [".", "train", "train/adapter", "train/checkpoint-8"])
def test_whatever_holds_the_adapter_becomes_a_stock_folder(run, tmp_path, source, capsys):
    out, tensors = run
    assert main(["collapse", str(out / source), "--out", str(tmp_path / "made" / "adapter")]) == 0
    made = tmp_path / "made" / "adapter"
    assert {path.name for path in made.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    assert {path.name for path in made.parent.iterdir()} == {"adapter"}, "nothing half-made is left"
    got = load_file(made / ADAPTER_FILE)
    assert got.keys() == tensors.keys() and all(torch.equal(got[name], tensors[name]) for name in got)
    told = json.loads((made / "adapter_config.json").read_text())
    assert told["base_model_name_or_path"] == "demo/tiny-llava", "the recipe's id, not where it lay"
    numbers = sum(tensor.numel() for tensor in tensors.values())
    assert f"1 layers, {numbers} numbers, sha256" in capsys.readouterr().out


def test_without_an_adapter_the_last_checkpoint_is_taken(run, tmp_path):
    out, tensors = run
    shutil.rmtree(out / "train" / "adapter")
    assert main(["collapse", str(out), "--out", str(tmp_path / "adapter"), "--base", "some/base"]) == 0
    assert load_file(tmp_path / "adapter" / ADAPTER_FILE).keys() == tensors.keys()
    told = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert told["base_model_name_or_path"] == "some/base"


@pytest.mark.parametrize("source", [".", "train/checkpoint-8"])
def test_the_generator_is_kept_beside(run, tmp_path, source):
    out, _ = run
    assert main(["collapse", str(out / source), "--out", str(tmp_path / "adapter"), "--keep-generator"]) == 0
    kept = tmp_path / "adapter-generator"
    assert {path.name for path in kept.iterdir()} == {
        "generator.json", "optimizer-00001-of-00002.safetensors", "optimizer-00002-of-00002.safetensors",
    }  # fmt: skip
    assert json.loads((kept / "generator.json").read_text())["settings"]["hidden"] == 8
    assert len(list((tmp_path / "adapter").iterdir())) == 2


def test_a_pissa_checkpoint_is_written_for_the_original_base(run, tmp_path, capsys):
    out, tensors = run
    file = out / "train" / "checkpoint-8" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"init_lora_weights": "pissa_niter_16"}))
    given = ["collapse", str(file.parent), "--out", str(tmp_path / "adapter")]
    assert main(given) == 2 and "start.safetensors" in capsys.readouterr().err
    save_file({name: torch.ones_like(tensor) for name, tensor in tensors.items()}, out / "train" / "start.safetensors")
    assert main(given) == 0
    got = load_file(tmp_path / "adapter" / ADAPTER_FILE)
    width = tensors[f"{NAME}.lora_A.weight"].shape[1]
    assert got[f"{NAME}.lora_A.weight"].shape == (6, width) and (got[f"{NAME}.lora_B.weight"][:, 3:] == -1).all()
    shutil.rmtree(tmp_path / "adapter")
    assert main([*given, "--keep-generator"]) == 2 and "fits its own start alone" in capsys.readouterr().err


def test_mistakes_are_named(run, tmp_path, capsys):
    out, _ = run
    made = str(tmp_path / "adapter")
    assert main(["collapse", str(tmp_path), "--out", made]) == 2
    assert "no trained adapter and no whole checkpoint" in capsys.readouterr().err
    assert main(["collapse", str(out), "--out", str(out)]) == 2
    assert "resolved.yaml" in capsys.readouterr().err and (out / "resolved.yaml").is_file()
    (out / "resolved.yaml").unlink()
    assert main(["collapse", str(out), "--out", made, "--keep-generator"]) == 2
    assert "nothing tells its settings" in capsys.readouterr().err
    file = out / "train" / "adapter" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"base_model_name_or_path": None}))
    assert main(["collapse", str(out / "train" / "adapter"), "--out", made]) == 2
    assert "name it with --base" in capsys.readouterr().err
    assert not Path(made).exists()


def test_an_adapter_that_lacks_layers_of_its_base_is_refused(run, tmp_path, capsys):
    out, _ = run
    file = out / "train" / "adapter" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"target_modules": ["q_proj"]}))
    given = ["collapse", str(out), "--out", str(tmp_path / "adapter")]
    assert main(given) == 2
    said = capsys.readouterr().err
    assert "lacks 3 of 4 layers" in said and "model.language_model.layers.1.self_attn.q_proj" in said
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    assert main([*given, "--base", "org/not-on-this-machine"]) == 0, "nothing to compare with"
