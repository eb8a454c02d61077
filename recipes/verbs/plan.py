"""What a run would adapt, hold in memory and start; without weights or GPU.

Memory is foreseen by kind, for each ZeRO stage and for a 4-bit base.  Where it does not fit, what to change is said,
cheapest first, with what each change saves; and the largest batch that fits.  Exits with 1 where it does not fit.
"""

from __future__ import annotations

import argparse
import re
import shlex

from recipes.command_line import chosen_recipe, out_folder, recipe_words
from recipes.environment import check_environment

EXAMPLES = """\
  python -m recipes plan recipes/llava_vqa.yaml --preset qlora-24gb
  python -m recipes plan recipes/qwen_vl_vqa.yaml --preset lora-80gb --gpus 1 --memory 24GiB
  python -m recipes plan recipes/llava_vqa.yaml --preset zero3-8gpu --gpus 4 --memory 40 train.batch_size=8
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``plan``."""
    recipe_words(parser)
    parser.add_argument("--gpus", type=int, help="GPUs in all, 0: the CPU, in place of the recipe's")
    parser.add_argument("--memory", type=gibibytes, metavar="24GiB", help="memory of each, in place of the recipe's")


def gibibytes(text: str) -> float:
    """GiB from ``24``, ``24GiB``, ``24G`` or ``24GB`` (10⁹ bytes)."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(g|gi|gib|gb)?", text.strip(), re.IGNORECASE)
    if not match or float(match[1]) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write 24GiB")
    return float(match[1]) * (10**9 / 2**30 if (match[2] or "").lower() == "gb" else 1)


def run(given: argparse.Namespace) -> int:
    recipe = chosen_recipe(given)
    from rich.console import Console

    from recipes.dry_run import Planner, dry_run, show
    from recipes.fit import on_hardware, show_fit
    from recipes.launch import train_command
    from recipes.stages import STAGES

    gpus, memory = getattr(given, "gpus", None), getattr(given, "memory", None)
    recipe = on_hardware(recipe, gpus, memory)
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
    planner, console = Planner(recipe), Console()
    planned = dry_run(recipe, commands, planner)
    show(planned, console)
    show_fit(recipe, planner, console)
    for lack in check_environment(recipe):
        print(f"\nnot on this machine: {lack}")
    return 0 if planned.fits else 1
