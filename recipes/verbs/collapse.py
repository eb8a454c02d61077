"""Leaves the generator behind: a checkpoint or a run becomes a stock PEFT adapter; no GPU, no base model.

FROM is a run's output folder (its trained adapter, or else its last whole checkpoint), its train/ folder, or one
checkpoint, whatever engine and number of processes wrote it. What is written is compared with what was trained, number
by number. With --keep-generator the generator is kept in FOLDER-generator, and a training with adapter.init_from=FOLDER
goes on with it.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from mlplora_vlm.adapter_file import PICKLE, PLAIN_STARTS, read_config
from mlplora_vlm.checkpoint import ADAPTER_FILE, CONFIG_FILE, last_checkpoint
from mlplora_vlm.collapse import ADAPTER_FILES, collapse
from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import read_tensors, refuse_foreign
from mlplora_vlm.kept_generator import beside, keep_generator, settings_of
from mlplora_vlm.start import START_FILE, onto_original_base
from recipes.environment import is_cached
from recipes.recipe import Recipe, load_resolved

EXAMPLES = """\
  python -m recipes collapse out/llava_vqa-demo/train/checkpoint-80 --out out/adapter-80
  python -m recipes collapse out/llava_vqa-demo --out out/adapter --keep-generator
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``collapse``."""
    parser.add_argument("source", type=Path, metavar="FROM", help="a run's output folder, its train/, or a checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="the adapter folder to write")
    parser.add_argument("--base", help="the model that the adapter belongs to (the recipe's model.id)")
    parser.add_argument("--keep-generator", action="store_true", help="beside it, to go on from (adapter.init_from)")


def run(given: argparse.Namespace) -> int:
    """0, with the adapter on disk."""
    trained = trained_folder(given.source)
    recipe = recipe_of(trained)
    base = given.base or (recipe.model.id if recipe else None)
    base = base or read_config(trained, checkpoint=True).get("base_model_name_or_path")
    if not base:
        raise MendableError("nothing says which model the adapter belongs to", str(trained), "name it with --base")
    refuse_foreign(given.out)
    if given.keep_generator and (recipe is None or not recipe.adapter.generated):
        raise MendableError(
            "there is no generator to keep, or nothing tells its settings (the run's resolved.yaml)",
            str(given.source),
            "leave --keep-generator out, or give a checkpoint in its run's folder",
        )
    if given.keep_generator:
        refuse_foreign(beside(given.out))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".collapse-", dir=given.out.parent) as scratch:
        plain = on_the_original_base(trained, Path(scratch) / "adapter")
        if given.keep_generator and plain != trained:
            raise MendableError(
                "a PiSSA's generator fits its own start alone", str(trained), "leave --keep-generator out"
            )
        _check_fit(plain, base, recipe)
        facts = collapse(plain, given.out, base)
    print(f"{facts['layers']} layers, {facts['parameters']:,} numbers, sha256 {facts['sha256']}: {given.out}")
    if given.keep_generator and recipe:
        checkpoint = trained if trained.name.startswith("checkpoint-") else last_checkpoint(trained.parent)
        if checkpoint is None:
            raise MendableError("the run has no whole checkpoint", str(trained.parent), "leave --keep-generator out")
        print(f"its generator: {keep_generator(checkpoint, given.out, settings_of(recipe.adapter, recipe.train))}")
    return 0


def _check_fit(adapter: Path, base: str, recipe: Recipe | None) -> None:
    """Compare the adapter with its base's layers, where the base's configuration is on this machine."""
    from data_prep.demo.models import model_path
    from mlplora_vlm.adapter_folder import check_fit
    from mlplora_vlm.load import ModelSection

    settings = recipe.model if recipe and recipe.model.id == base else ModelSection(base)
    try:
        path = model_path(base)
    except MendableError:  # an embedded model whose packages are missing here
        return
    if Path(path).is_dir() or is_cached(path, settings.revision):
        check_fit(path, settings, adapter)


def trained_folder(source: Path) -> Path:
    """The folder with the trained adapter; raises `MendableError` where there is none."""
    if any((source / name).is_file() for name in (ADAPTER_FILE, CONFIG_FILE, PICKLE)):
        return source
    for folder in (source / "train" / "adapter", source / "adapter" if source.name == "train" else None):
        if folder and (folder / ADAPTER_FILE).is_file() and (folder / CONFIG_FILE).is_file():
            return folder
    for folder in (source, source / "train"):
        if found := last_checkpoint(folder):
            return found
    raise MendableError(
        "there is no trained adapter and no whole checkpoint", str(source), "give a run's folder or a checkpoint"
    )


def recipe_of(trained: Path) -> Recipe | None:
    """The recipe of the run that a trained adapter lies in, or None."""
    for folder in trained.resolve().parents[:2]:
        if (folder / "resolved.yaml").is_file():
            return load_resolved(folder / "resolved.yaml")
    return None


def on_the_original_base(trained: Path, scratch: Path) -> Path:
    """The folder itself, or of a checkpoint that fits a changed base (PiSSA) what a finished run would write."""
    if read_config(trained, checkpoint=True).get("init_lora_weights") in PLAIN_STARTS:
        return trained
    start = trained.parent / START_FILE
    if not start.is_file():
        raise MendableError(
            f"the checkpoint fits a changed base, and its start ({START_FILE}) is not beside it",
            str(trained),
            "leave it in its run's train/ folder",
        )
    scratch.mkdir()
    for name in ADAPTER_FILES:
        shutil.copyfile(trained / name, scratch / name)
    onto_original_base(scratch, read_tensors(start))
    return scratch
