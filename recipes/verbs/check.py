"""Checks, counts and shows the training data, as the first stages of `run` do; nothing is trained.

Every row is accepted, repaired or rejected: OUT/data/report.html has the counts, the lengths and what padding costs,
OUT/data/rejects.jsonl each rejected row with its file, place and reason.  A run in the same folder goes on from there.
"""

from __future__ import annotations

import argparse

from recipes.command_line import chosen_recipe, logged_run, out_folder, recipe_words

EXAMPLES = """\
  python -m recipes check recipes/llava_vqa.yaml --preset demo
  python -m recipes check recipes/llava_onevision_mix.yaml --preset qlora-24gb data.folder=/data/mine
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``check``."""
    recipe_words(parser)


def run(given: argparse.Namespace) -> int:
    """0; a GPU that the preset needs may be missing."""
    recipe = chosen_recipe(given)
    out = out_folder(given, recipe)
    from recipes.chain import Chain, claim_output
    from recipes.stages import STAGES

    claim_output(out)
    with logged_run(recipe, out):
        Chain(STAGES, recipe, out).run(until="leaks")
    print(f"report: {out / 'data' / 'report.html'}")
    return 0
