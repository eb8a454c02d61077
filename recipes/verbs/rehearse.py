"""Rehearses a preset on the CPU before a GPU is rented: its own settings on the model's published widths.

The base has the recipe's real widths, vocabulary and heads, random weights, and two layers of each part (one of every
kind); images have real sizes.  Quantization, precision, rank, generator, optimizer states, checkpointing and ZeRO
stage are the preset's; a preset of several processes runs with two.  Then the whole chain runs: prepare, before, train
(killed after its first checkpoint, and resumed), after, collapse, merge, verify, card and a push that sends nothing.
OUT/rehearsal.json has seconds and memory of each stage, and what was cut.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import check_claimable, claim_folder, emptied_folder, write_json
from recipes.recipe import Recipe, available_presets, load_recipe, recipe_files

EXAMPLES = """\
  python -m recipes rehearse recipes/llava_vqa.yaml --preset qlora-24gb
  python -m recipes rehearse recipes/qwen_vl_vqa.yaml --preset zero3-8gpu adapter.rank=64
  python -m recipes rehearse --all
"""
OUT = Path("out/rehearsal")
HEAVY = ("data", "cache", "run")
"""What a rehearsal writes beside its result and its log."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``rehearse``."""
    add = parser.add_argument
    add("recipe", type=Path, nargs="?", help="a recipe, such as recipes/llava_vqa.yaml")
    add("overrides", nargs="*", metavar="section.key=value", help="over the recipe and its preset")
    add("--preset", help="the preset to rehearse (all of the recipe's GPU presets)")
    add("--all", action="store_true", help="every GPU preset of every recipe in recipes/")
    add("--out", type=Path, default=OUT, help="results; a folder for each preset (%(default)s)")
    add("--keep", action="store_true", help="keep the models and checkpoints: some gigabytes a preset")


def run(given: argparse.Namespace) -> int:
    """0: every preset passed; 1: one failed, and the last lines say why."""
    if given.all == bool(given.recipe):
        raise MendableError("expected a recipe or --all", "rehearse", "name one of them")
    recipes = recipe_files(Path(__file__).parents[1]) if given.all else [given.recipe]
    chosen = [(path, preset) for path in recipes for preset in _presets(path, given.preset)]
    if not chosen:
        raise MendableError("no GPU preset to rehearse", str(given.recipe or "recipes/"), "name one with --preset")
    loaded = [load_recipe(path, preset, given.overrides) for path, preset in chosen]  # all mistakes before any work
    for recipe in loaded:
        check_claimable(given.out / f"{recipe.name}-{recipe.preset}")
    claim_folder(given.out)
    from recipes.rehearsal import rehearse
    from recipes.rehearsal_table import show

    failed = 0
    for recipe in loaded:
        out, base = given.out / f"{recipe.name}-{recipe.preset}", given.out / "bases" / _slug(recipe)
        print(f"{recipe.name}, preset {recipe.preset}, in {out}", flush=True)
        emptied_folder(out)
        try:
            result: dict[str, Any] = rehearse(recipe, out, base, lambda line: print(line, flush=True))
        except MendableError as error:
            failed += 1
            result = {"recipe": recipe.name, "preset": recipe.preset, "failed": str(error)}
            write_json(out / "rehearsal.json", result)
            print(error, file=sys.stderr, flush=True)
        if not given.keep and "failed" not in result:
            for name in HEAVY:
                shutil.rmtree(out / name, ignore_errors=True)
            if all(_slug(later) != base.name for later in loaded[loaded.index(recipe) + 1 :]):
                _remove_base(base)
    show(given.out)
    return 1 if failed else 0


def _slug(recipe: Recipe) -> str:
    """A folder's name for the base that a recipe trains."""
    model = recipe.model
    return re.sub(r"[^A-Za-z0-9_-]+", "-", f"{model.id.strip('./~')}-{model.revision or 'main'}-{model.dtype}")


def _presets(path: Path, asked: str | None) -> list[str]:
    """The preset that was asked for, or those that need a GPU."""
    presets = available_presets(path)
    return [asked] if asked else [name for name, preset in presets.items() if preset.hardware.gpus]


def _remove_base(base: Path) -> None:
    base.with_suffix(".json").unlink(missing_ok=True)
    shutil.rmtree(base, ignore_errors=True)
