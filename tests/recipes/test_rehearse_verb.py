"""Rehearsals: what a preset means is left as it is, a broken link is named, and real widths pass on the CPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlplora_vlm.checkpoint import ADAPTER_FILE
from mlplora_vlm.files import read_json
from mlplora_vlm.states import SEPARATOR
from recipes.__main__ import main
from recipes.recipe import available_presets, load_recipe, load_resolved, recipe_files
from recipes.rehearsal import LARGEST, rehearsed
from recipes.rehearsal_data import SIZES, write_rows
from recipes.rehearsal_table import rows

RECIPES = Path(__file__).parents[2] / "recipes"
PRESETS = [
    (path, name)
    for path in recipe_files(RECIPES)
    for name, preset in available_presets(path).items()
    if preset.hardware.gpus
]
LEFT_ALONE = {
    "model": ("dtype", "quantization", "double_quantization", "compute_dtype", "picture_tokens"),
    "data": ("prompt", "max_length", "too_long", "group_by_length"),
    "train": (
        "optimizer",
        "zero_stage",
        "gradient_checkpointing",
        "max_grad_norm",
        "clip",
        "learning_rate",
        "schedule",
    ),
}


def test_all_recipes_have_their_three_gpu_presets():
    assert len(PRESETS) == 10 * 3


@pytest.mark.parametrize(("path", "preset"), PRESETS, ids=lambda value: getattr(value, "stem", value))
def test_a_rehearsal_keeps_what_a_preset_means(path, preset, tmp_path):
    recipe = load_recipe(path, preset)
    small = rehearsed(recipe, tmp_path, tmp_path / "base")
    assert small.adapter == recipe.adapter and small.merge == recipe.merge
    for section, keys in LEFT_ALONE.items():
        for key in keys:
            assert getattr(getattr(small, section), key) == getattr(getattr(recipe, section), key), key
    task, own = recipe.eval.chosen(), small.eval.chosen()
    assert (own.prompt, own.metric, own.also) == (task.prompt, task.metric, task.also)
    assert small.train.processes == (2 if recipe.train.processes > 1 else 1)
    assert small.train.max_steps // small.train.save_steps == 2 and small.hardware.gpus == 0
    for key, most in LARGEST.items():
        section, _, name = key.partition(".")
        assert 0 < getattr(getattr(small, section), name) <= most
    small.dump_resolved(tmp_path / "resolved.yaml")
    assert load_resolved(tmp_path / "resolved.yaml") == small, "its values pass every check of a recipe"


def test_rows_are_images_of_real_sizes_in_the_prompt_s_form(tmp_path):
    from PIL import Image

    write_rows(tmp_path, {"train": "caption", "test": "short_answer"})
    splits = {split: [json.loads(line) for line in (tmp_path / f"{split}.jsonl").read_text().splitlines()]
              for split in ("train", "test")}  # fmt: skip
    assert not any("question" in row for row in splits["train"]) and all(row["question"] for row in splits["test"])
    every = [row for split in splits.values() for row in split]
    assert len({row["image"] for row in every}) == len(every), "no image of the evaluation is trained on"
    assert {Image.open(tmp_path / row["image"]).size for row in splits["train"]} == set(SIZES)


def test_mistakes_of_any_preset_show_before_anything_is_built(tmp_path, capsys):
    out = tmp_path / "out"
    given = [str(RECIPES / "llava_vqa.yaml"), "--preset", "qlora-24gb", "--out", str(out), "adapter.rank=0"]
    assert main(["rehearse", *given]) == 2
    assert "adapter.rank" in capsys.readouterr().err and not out.exists()
    assert main(["rehearse"]) == 2 and "--all" in capsys.readouterr().err


@pytest.mark.slow
def test_a_link_that_fails_is_named_with_the_reason(tmp_path, capsys):
    """Rows longer than `data.max_length` leave nothing to train on: known in the first stage, before any weights."""
    given = [str(RECIPES / "llava_vqa.yaml"), "--preset", "smoke", "--out", str(tmp_path), "data.max_length=8"]
    assert main(["rehearse", *given]) == 1
    result = read_json(tmp_path / "llava_vqa-smoke" / "rehearsal.json")
    assert "8 too long" in result["failed"] and "rehearsal.log" in result["failed"]
    assert "failed" in capsys.readouterr().out
    assert rows([result])[0][:3] == ["llava_vqa", "smoke", "failed"]


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["qlora-24gb"])
def test_real_widths_train_resume_merge_and_verify(preset, tmp_path, capsys):
    """ZeRO-2 and 8-bit states on a 4-bit base, at SmolVLM2-2.2B's widths."""
    given = [str(RECIPES / "smolvlm_caption.yaml"), "--preset", preset, "--out", str(tmp_path), "--keep"]
    assert main(["rehearse", *given]) == 0
    out = tmp_path / f"smolvlm_caption-{preset}"
    result = read_json(out / "rehearsal.json")
    recipe = load_recipe(RECIPES / "smolvlm_caption.yaml", preset)
    assert result["zero_stage"] == recipe.train.zero_stage == (3 if preset.startswith("zero3") else 2)
    assert (result["killed_after_step"], result["steps"]) == (1, 2)
    assert all(result["verify"][f"{step}_error"] <= result["verify"][f"{step}_bound"] for step in ("collapse", "merge"))
    assert result["cut"]["layers"] == {"language": [24, 2], "vision": [27, 2]}
    stages = ("prepare", "before", "train", "after", "collapse", "merge", "verify", "report")
    assert all(result["stages"][name]["peak_memory_mib"] > 0 for name in stages)
    _check_widths(out, recipe)
    answers = (out / "run" / "eval" / "after" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert any(json.loads(line)["prediction"] for line in answers), "comparing empty answers would prove nothing"
    shown = capsys.readouterr().out
    assert "language layers 24 -> 2" in shown and f"train.batch_size {recipe.train.batch_size} -> 2" in shown
    assert all(f"[{name}] done in" in shown for name in stages)


def _check_widths(out: Path, recipe) -> None:
    """The adapter has the published widths and the preset's rank, its states the preset's precision."""
    from safetensors import safe_open

    rank = recipe.adapter.rank
    with safe_open(out / "run" / "adapter" / ADAPTER_FILE, "pt") as opened:
        shapes = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    (down,) = {shape for name, shape in shapes.items() if name.endswith("mlp.down_proj.lora_A.weight")}
    assert down == (rank, 8192)
    files = sorted((out / "run" / "train" / "checkpoint-2").glob("optimizer-*"))
    assert len(files) == (2 if recipe.train.processes > 1 else 1)
    with safe_open(files[0], "pt") as opened:
        parts = {key.split(SEPARATOR)[-1] for key in opened.keys() if f"{SEPARATOR}W2{SEPARATOR}" in key}  # noqa: SIM118
    assert ("state1" in parts) == (recipe.adapter.generator.states == "8bit")
