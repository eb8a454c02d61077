"""Publishes a finished run: the adapter, the merged model, or both, each with its card.

Only what the stage verify compared leaves this machine, byte for byte, and nothing that is on no list of a model's
files. A repo is made private unless --public says otherwise. An upload that broke off goes on with the same command.
The token is the one of `hf auth login` or $HF_TOKEN; $HF_ENDPOINT names another hub.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recipes.recipe import Recipe

EXAMPLES = """\
  python -m recipes push out/llava_vqa-demo --to me/llava-easy-vqa --dry-run     files and sizes; sends nothing
  python -m recipes push out/llava_vqa-demo --to me/llava-easy-vqa               both; the adapter to …-adapter
  python -m recipes push out/llava_vqa-demo --to me/easy-vqa-lora --what adapter --public --revision v2
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``push``."""
    publish_words(parser)
    parser.add_argument("--dry-run", action="store_true", help="list files and sizes, and send nothing")


def publish_words(parser: argparse.ArgumentParser) -> None:
    """The run, and what is over its recipe's section publish."""
    add = parser.add_argument
    add("out", type=Path, metavar="OUT", help="the run's output folder")
    add("--to", metavar="NAMESPACE/NAME", help="the repo, over publish.to")
    add("--what", nargs="+", choices=("adapter", "merged"), default=[], help="one of them or both, over the recipe")
    add("--public", action="store_true", help="for everyone to see; private without it")
    add("--revision", metavar="BRANCH", help="made where it is missing (main)")
    add("--licence", metavar="ID", help="where the base's README names none, such as apache-2.0")
    add("--base", metavar="ID", help="the base's hub id, where it was a folder")


def chosen(given: argparse.Namespace) -> Recipe:
    """The run's recipe with the command line's words over its section publish; raises `MendableError`."""
    from mlplora_vlm.errors import MendableError
    from recipes.publish import asked
    from recipes.recipe import load_resolved

    if not (given.out / "resolved.yaml").is_file():
        raise MendableError("no run is here (no resolved.yaml)", str(given.out), "give a run's output folder")
    recipe = load_resolved(given.out / "resolved.yaml")
    section = asked(recipe.publish, given.to, given.what, given.public, given.revision)
    section = replace(section, licence=given.licence or section.licence, base=given.base or section.base)
    return replace(recipe, publish=section)


def run(given: argparse.Namespace) -> int:
    """0, with everything on the hub."""
    recipe = chosen(given)
    from recipes.chain import locked
    from recipes.publish import publish

    with locked(given.out):
        publish(recipe, given.out, given.dry_run)
    return 0
