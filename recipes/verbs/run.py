"""The whole chain, or a part of it.

The stages are prepare, leaks, attach, before, train, after, collapse, merge, verify, report (result.json and
report.html), publish (nothing, unless publish.to names a repo). The same command again goes on after the last finished
stage, and a broken training goes on from its last whole checkpoint. Several nodes: set NNODES, NODE_RANK, MASTER_ADDR
and MASTER_PORT, and run the same command on each with OUT on a shared disk; node 0 does everything but the training
alone.
"""

from __future__ import annotations

import argparse
import time

from mlplora_vlm.errors import MendableErrors
from recipes.command_line import chosen_recipe, logged_run, out_folder, recipe_words, run_words
from recipes.environment import check_environment
from recipes.verbs import plan

EXAMPLES = """\
  python -m recipes run recipes/llava_vqa.yaml                       chooses a preset for this machine
  python -m recipes run recipes/llava_vqa.yaml --preset demo adapter.generated=false --out out/plain-lora
  python -m recipes run recipes/llava_vqa.yaml --preset smoke --from collapse
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``run``."""
    recipe_words(parser)
    run_words(parser)


def run(given: argparse.Namespace) -> int:
    """0, or 1 where the tuned model does not look at its pictures."""
    if given.dry_run:
        return plan.run(given)
    recipe = chosen_recipe(given)
    if missing := check_environment(recipe):
        raise MendableErrors(missing)
    out = out_folder(given, recipe)
    from recipes.chain import Chain, claim_output
    from recipes.launch import nodes
    from recipes.result import note_command
    from recipes.stages import STAGES, train

    claim_output(out)
    chain = Chain(STAGES, recipe, out)
    if nodes()[1]:
        while not chain.done("before"):  # node 0 prepares and evaluates first
            time.sleep(5)
        train(recipe, out)
        return 0
    with logged_run(recipe, out):
        command = ["bash", f"recipes/{recipe.name}.sh", *given.overrides]
        note_command(out, [f"PRESET={recipe.preset}", *command] if recipe.preset else command)
        stamps = chain.run(given.start, given.only, given.force)
        if given.only:
            return 0
        verdict = stamps["report"]["output"]["verdict"]
        print(verdict["sentence"])
        print(f"report: {out / 'report.html'}", flush=True)
    return 1 if verdict["status"] == "does not look" else 0
