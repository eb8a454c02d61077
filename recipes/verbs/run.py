"""The whole chain, or a part of it.

The stages are prepare, leaks, attach, before, train, after, collapse, merge, verify, report (result.json and
report.html), publish (nothing, unless publish.to names a repo). The same command again goes on after the last finished
stage, and a broken training goes on from its last whole checkpoint. Several nodes: set NNODES, NODE_RANK, MASTER_ADDR
and MASTER_PORT, and run the same command on each with OUT on a shared disk; node 0 does everything but the training
alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mlplora_vlm.errors import MendableErrors
from recipes.command_line import chosen_recipe, logged_run, out_folder, recipe_words, run_command, run_words
from recipes.environment import check_environment
from recipes.recipe import Recipe
from recipes.verbs import plan

if TYPE_CHECKING:
    from recipes.chain import Chain
    from recipes.nodes import Node, SingleNode

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
    out = out_folder(given, recipe)
    from recipes.chain import Chain, claim_output
    from recipes.launch import nodes
    from recipes.nodes import ALONE, Node, node_timeout
    from recipes.stages import STAGES

    chain, (count, rank) = Chain(STAGES, recipe, out), nodes()
    if count == 1:
        _check(recipe)
        claim_output(out)
        return _lead(given, chain, ALONE)
    timeout = node_timeout()
    if rank == 0:
        claim_output(out)  # before anything can fail: the other nodes look here for the reason
    with Node(out, list(chain.stages), chain.digest("train"), count, rank, timeout) as node:
        _check(recipe)
        return _follow(recipe, out, node) if rank else _lead(given, chain, node)


def _check(recipe: Recipe) -> None:
    if missing := check_environment(recipe):
        raise MendableErrors(missing)


def _lead(given: argparse.Namespace, chain: Chain, node: SingleNode) -> int:
    """Run the chain: the only node, or the first one."""
    from recipes.result import note_command

    out = chain.out
    with logged_run(chain.recipe, out):
        note_command(out, run_command(given, chain.recipe))
        stamps = chain.run(given.start, given.only, given.force, node=node)
        if given.only:
            return 0
        verdict = stamps["report"]["output"]["verdict"]
        print(verdict["sentence"])
        print(f"report: {out / 'report.html'}", flush=True)
    return 1 if verdict["status"] == "does not look" else 0


def _follow(recipe: Recipe, out: Path, node: Node) -> int:
    """Take part in the training, if there is any left: every node but the first."""
    from recipes.chain import in_own_process
    from recipes.stages import train

    print(f"waiting for node 0 in {out}", flush=True)
    if node.follow():
        in_own_process(train, recipe, out, node)
    else:
        print("no training is left to do", flush=True)
    return 0
