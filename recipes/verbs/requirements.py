"""Prints the requirement files that the chosen preset needs beside requirements.txt."""

from __future__ import annotations

import argparse

from recipes.command_line import recipe_words, run_words
from recipes.environment import cuda_memory_gib
from recipes.recipe import available_presets, choose_preset, load_recipe

EXAMPLES = """\
  python -m recipes requirements recipes/llava_vqa.yaml --preset demo
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """What `run` takes, since a recipe's shell file passes both the same."""
    recipe_words(parser)
    run_words(parser)


def run(given: argparse.Namespace) -> int:
    preset, _ = choose_preset(available_presets(given.recipe), cuda_memory_gib(), given.preset)
    recipe = load_recipe(given.recipe, preset, given.overrides)
    sources = {section.source for section in recipe.data.sources().values()} | {recipe.eval.chosen().source}
    if recipe.model.id == "demo/llava-smollm2-135m" or "easy_vqa" in sources:
        print("requirements-demo.txt")
    return 0
