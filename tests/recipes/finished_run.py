"""A finished run's folder, made in seconds: a real adapter of the tiny model, really collapsed and merged, with stamps.

Scores and times in its result are those of docs/demo/result.json; nothing was trained or measured.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlplora_vlm.files import read_json, sha256, write_json
from recipes.chain import Chain
from recipes.recipe import Recipe, load_recipe
from recipes.stages import STAGES

ROOT = Path(__file__).parents[2]


def finished_run(out: Path, **publish: Any) -> Recipe:
    """Fills ``out`` as the smoke preset would, the merged model in several shards; returns the recipe."""
    import torch
    from transformers import AutoModelForImageTextToText

    from data_prep.demo.models import model_path
    from mlplora_vlm.attach import AdapterSection, attach
    from mlplora_vlm.collapse import collapse
    from mlplora_vlm.load import load_model, load_processor
    from mlplora_vlm.merge import merge

    recipe = load_recipe(ROOT / "recipes" / "llava_vqa.yaml", "smoke")
    base = model_path(recipe.model.id)
    model, _ = attach(load_model(base, recipe.model), replace(recipe.adapter, generated=False))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    assert isinstance(recipe.adapter, AdapterSection)
    model.save_pretrained(out / "train" / "adapter", save_embedding_layers=False)
    collapse(out / "train" / "adapter", out / "adapter", recipe.model.id)
    load_processor(base, recipe.model).save_pretrained(out / "adapter")
    merge(base, recipe.model, out / "adapter", out / "merged")
    merged = AutoModelForImageTextToText.from_pretrained(out / "merged")
    (out / "merged" / "model.safetensors").unlink()
    merged.save_pretrained(out / "merged", max_shard_size="100KB")
    for name in ("data", "eval/before", "eval/after"):
        (out / name).mkdir(parents=True)
    (out / "report.html").write_text("")
    recipe = replace(recipe, publish=replace(recipe.publish, **publish))
    recipe.dump_resolved(out / "resolved.yaml")
    stamp(out, recipe)
    return recipe


def stamp(out: Path, recipe: Recipe) -> None:
    """result.json, and a stamp of every stage but publish, as if all had just been done."""
    result = read_json(ROOT / "docs" / "demo" / "result.json")
    result["recipe"] |= {"name": recipe.name, "preset": recipe.preset, "resolved": recipe.to_dict()}
    result["verify"]["hashes"] = {
        f"{folder}/{path.name}": sha256(path)
        for folder in ("adapter", "merged")
        for path in sorted((out / folder).iterdir())
    }
    write_json(out / "result.json", result)
    chain = Chain(STAGES, recipe, out)
    for number, stage in enumerate(STAGES[:-1]):
        output = result["verify"] if stage.name == "verify" else {}
        ids = {before: list(chain.stages).index(before) for before in stage.after}
        about = {"digest": chain.digest(stage.name), "id": number, "after": ids, "output": output}
        write_json(out / ".stages" / f"{stage.name}.json", about)


def edit_json(path: Path, **values: Any) -> None:
    """Sets keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
