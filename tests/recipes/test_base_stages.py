"""A broken base ends a run in its first stage; a model that computes nothing ends the stages before and after."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_llava
import torch
from safetensors.torch import load_file, save_file

from mlplora_vlm.errors import MendableError
from recipes import stages
from recipes.recipe import load_recipe

RECIPE = """
name: mine
model: {{id: {base}, dtype: float32}}
data: {{source: shapes, split: train, prompt: short_answer, max_length: 256}}
adapter: {{rank: 2}}
train: {{batch_size: 4, max_steps: 2}}
eval: {{task: shapes_test, limit: 4, controls: []}}
hardware: {{gpus: 0}}
"""


@pytest.fixture
def base(tmp_path) -> Path:
    return tiny_llava.build(tmp_path / "base")


def recipe(base):
    (base.parent / "mine.yaml").write_text(RECIPE.format(base=base))
    return load_recipe(base.parent / "mine.yaml")


@pytest.mark.parametrize("fault", ["pointer", "tokens"])
def test_a_broken_base_ends_the_first_stage_before_any_row_is_read(base, fault):
    if fault == "pointer":
        (base / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\nsize 12\n")
    else:
        processor = tiny_llava.build_processor()
        processor.tokenizer.add_tokens(["<loc0>", "<loc1>"])
        processor.save_pretrained(base)
    with pytest.raises(MendableError, match=r"git-LFS|425 rows"):
        stages.prepare(recipe(base), base.parent / "out")
    assert not (base.parent / "out").exists()


def test_a_base_that_computes_nothing_ends_the_stage_before(base, monkeypatch):
    monkeypatch.setenv("MLPLORA_CACHE", str(base.parent / "cache"))
    tensors = load_file(base / "model.safetensors")
    head = next(name for name in tensors if name.endswith("lm_head.weight"))
    save_file(
        tensors | {head: torch.full_like(tensors[head], float("nan"))}, base / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(MendableError, match="NaN"):
        stages.before(recipe(base), base.parent / "out")
    assert not list((base.parent / "out").rglob("result.json"))
