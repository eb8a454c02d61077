"""What a run would adapt, hold in memory and start; without weights or GPU."""

from __future__ import annotations

import argparse
import shlex

from recipes.command_line import chosen_recipe, out_folder, recipe_words
from recipes.environment import check_environment

EXAMPLES = """\
  python -m recipes plan recipes/llava_vqa.yaml --preset qlora-24gb
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``plan``."""
    recipe_words(parser)


def run(given: argparse.Namespace) -> int:
    recipe = chosen_recipe(given)
    from rich.console import Console

    from recipes.dry_run import dry_run, show
    from recipes.launch import train_command
    from recipes.stages import STAGES

    out = out_folder(given, recipe)
    start = [
        "python",
        "-m",
        "recipes",
        "run",
        str(given.recipe),
        *(["--preset", recipe.preset] if recipe.preset else []),
    ]
    commands = [
        shlex.join(["torchrun", *train_command(recipe, out)[3:]])
        if stage.name == "train"
        else shlex.join([*start, *given.overrides, "--out", str(out), "--only", stage.name])
        for stage in STAGES
    ]
    planned = dry_run(recipe, commands)
    show(planned, Console())
    for lack in check_environment(recipe):
        print(f"\nnot on this machine: {lack}")
    return 0 if planned.fits else 1
