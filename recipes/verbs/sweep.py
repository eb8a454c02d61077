"""Methods compared over learning rates and seeds: the best rate of each, and how much it matters.

Trains every method at every learning rate with every seed, each in one process without DeepSpeed and for
the rest as the recipe has it, and compares them on train.eval_rows rows held out of the training data.

A method is [op-|linear-]KIND[+]: a PEFT method (lora, rslora, dora, pissa, vera), plain or behind a generator (op-: the
paper's, linear-: without its ReLU), and with + LoRA+'s learning rate for B.  LABEL:section.key=value,… is a method of
your own, from the recipe's adapter.  Every training is a cell: a file of its own in OUT/cells.  The same command again
goes on with what is missing; started several times at once, the processes share the cells (on several GPUs with
CUDA_VISIBLE_DEVICES).  OUT/sweep.json has every number, OUT/curves.png the curves.
"""

from __future__ import annotations

import argparse
import sys

from mlplora_vlm.errors import MendableErrors
from mlplora_vlm.files import claim_folder
from recipes.command_line import out_folder, recipe_words
from recipes.environment import check_environment, cuda_memory_gib
from recipes.recipe import available_presets, choose_preset

EXAMPLES = """\
  python -m recipes sweep recipes/llava_vqa.yaml --preset smoke --lr 1e-3:1e-1:1 --kind lora op-lora --seeds 2
  python -m recipes sweep recipes/llava_vqa.yaml --lr 1e-4:1e-2:3 --kind lora lora+ op-lora linear-lora --seeds 3 \\
      data.limit=400 train.max_steps=40 train.eval_rows=64
  python -m recipes sweep recipes/llava_vqa.yaml --lr 1e-4,3e-4,1e-3 --seeds 3 \\
      --kind op-lora narrow:adapter.generated=true,adapter.generator.hidden=4
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``sweep``."""
    recipe_words(parser, "out/NAME-PRESET-sweep")
    parser.add_argument("--lr", required=True, help="LOW:HIGH:POINTS_A_DECADE, or rates with commas between them")
    parser.add_argument("--kind", required=True, nargs="+", metavar="METHOD", help="what to compare; see above")
    parser.add_argument("--seeds", type=int, default=3, help="trainings a method and learning rate (%(default)s)")


def run(given: argparse.Namespace) -> int:
    from recipes.sweep.grid import load_grid, parse_rates, split_words

    kinds, overrides = split_words(given.kind)
    preset, why = choose_preset(available_presets(given.recipe), cuda_memory_gib(), given.preset)
    print(why, flush=True)
    rates = parse_rates(given.lr)
    grid = load_grid(given.recipe, preset, [*given.overrides, *overrides], kinds, rates, given.seeds)
    recipes = {cell.label: cell.recipe for cell in grid}
    if missing := {str(lack): lack for recipe in recipes.values() for lack in check_environment(recipe)}:
        raise MendableErrors(missing.values())
    out = out_folder(given, grid[0].recipe, "sweep")
    claim_folder(out, "sweep.json", "cells/*.json")
    from rich.console import Console

    from recipes.sweep.run import work
    from recipes.sweep.summary import rich_table, write_summary

    print(f"{len(grid)} trainings: {len(recipes)} methods, {len(rates)} learning rates, {given.seeds} seeds; {out}")
    work(grid, out)
    result = write_summary(grid, out)
    Console(width=None if sys.stdout.isatty() else 140).print(rich_table(result["labels"]))
    print(result["sentence"])
    if left := len(grid) - result["cells"]["finished"]:
        print(f"{left} cells are still with other processes; the last one to end, or this command again, sums up all")
    print(f"numbers: {out / 'sweep.json'}, curves: {out / 'curves.png'}", flush=True)
    return 0
