"""What the verbs about a recipe share: its words on the command line, and the recipe that they choose."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlplora_vlm.errors import SEEDS, MendableError
from recipes.environment import cuda_memory_gib
from recipes.recipe import Recipe, available_presets, choose_preset, load_recipe


def recipe_words(parser: argparse.ArgumentParser, folder: str = "out/NAME-PRESET") -> None:
    """The recipe, its preset, its overrides and its output folder."""
    parser.add_argument("recipe", type=Path, help="a recipe, such as recipes/llava_vqa.yaml")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="over the recipe and its preset")
    parser.add_argument("--preset", default=os.environ.get("PRESET") or None, help="a block of overrides ($PRESET)")
    out = os.environ.get("OUT")
    parser.add_argument("--out", type=Path, default=Path(out) if out else None, help=f"($OUT; {folder})")


def seed(text: str) -> int:
    """A seed on the command line."""
    if not re.fullmatch(r"\d{1,10}", text) or int(text) >= SEEDS:
        raise argparse.ArgumentTypeError(f"expected a seed from 0 to {SEEDS - 1}, got {text!r}")
    return int(text)


def run_words(parser: argparse.ArgumentParser) -> None:
    """What `run` takes beside `recipe_words`."""
    parser.add_argument("--from", dest="start", metavar="STAGE", help="do this stage and all after it anew")
    parser.add_argument("--only", metavar="STAGE", help="do this stage alone, anew")
    parser.add_argument("--force", action="store_true", help="do everything anew, over another recipe's training too")
    parser.add_argument("--dry-run", action="store_true", help="the same as the verb plan")


def chosen_recipe(given: argparse.Namespace) -> Recipe:
    """The recipe with the preset that was asked for or that suits this machine; says which."""
    preset, why = choose_preset(available_presets(given.recipe), cuda_memory_gib(), given.preset)
    print(why, flush=True)
    return load_recipe(given.recipe, preset, given.overrides)


def run_command(given: argparse.Namespace, recipe: Recipe) -> str:
    """The command line that repeats this run from the same working directory, as a shell reads it."""
    from recipes.launch import NODE_VARIABLES, nodes

    script = Path("recipes") / f"{given.recipe.stem}.sh"
    own = script.is_file() and given.recipe.resolve() == script.with_suffix(".yaml").resolve()
    start = ["bash", str(script)] if own else ["python", "-m", "recipes", "run", str(given.recipe)]
    options = {"--preset": recipe.preset, "--out": given.out, "--from": given.start, "--only": given.only}
    words = [str(word) for option, value in options.items() if value is not None for word in (option, value)]
    words += ["--force"] * given.force
    told = [name for name in NODE_VARIABLES if name in os.environ] if nodes()[0] > 1 else []
    variables = [f"{name}={shlex.quote(os.environ[name])}" for name in told]
    return " ".join([*variables, shlex.join([*start, *words, *given.overrides])])


def out_folder(given: argparse.Namespace, recipe: Recipe, verb: str = "") -> Path:
    """$OUT, --out, or out/NAME-PRESET."""
    return given.out or Path("out") / "-".join(filter(None, (recipe.name, recipe.preset, verb)))


@contextmanager
def logged_run(recipe: Recipe, out: Path) -> Iterator[None]:
    """Inside, everything goes to ``out/run.log`` too, and so does a mistake that ends the run."""
    from recipes.log import logged

    with logged(out / "run.log"):
        print(f"{recipe.name}, preset {recipe.preset}, output in {out}", flush=True)
        try:
            yield
        except MendableError as error:
            with (out / "run.log").open("a") as log:
                log.write(f"{error}\n")  # the command line shows it
            raise
