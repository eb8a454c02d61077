"""The command line: ``python -m recipes --help``."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from eval_harness.tasks import TASKS
from mlplora_vlm.errors import MendableError, MendableErrors
from recipes.environment import check_environment, cuda_memory_gib
from recipes.recipe import Recipe, available_presets, choose_preset, load_recipe, load_resolved

EXAMPLES = """examples:
  python -m recipes run recipes/llava_vqa.yaml                       the whole chain; chooses a preset for this machine
  python -m recipes run recipes/llava_vqa.yaml --preset demo adapter.generated=false --out out/plain-lora
  python -m recipes run recipes/llava_vqa.yaml --preset smoke --from collapse
  python -m recipes plan recipes/llava_vqa.yaml --preset qlora-24gb  layers, memory and commands, without weights or GPU
  python -m recipes requirements recipes/llava_vqa.yaml --preset demo  requirement files that the preset adds
  torchrun --nproc_per_node 2 -m recipes train out/llava_vqa-demo    the training alone, as `run` starts it
"""
RUN = """The stages are prepare, attach, before, train, after, collapse, merge, verify; then come result.json and
report.html. The same command again goes on after the last finished stage, and a broken training goes on from its last
whole checkpoint. Several nodes: set NNODES, NODE_RANK, MASTER_ADDR and MASTER_PORT, and run the same command on each
with OUT on a shared disk; node 0 does everything but the training alone."""


def main(arguments: Sequence[str] | None = None) -> int:
    """0: done; 1: the tuned model does not look at its pictures; 2: a mistake that the user can mend."""
    parser = _parser()
    given, rest = parser.parse_known_args(arguments)  # overrides may stand before and after options
    if odd := [word for word in rest if word.startswith("-") or "overrides" not in given]:
        parser.error(f"unrecognized arguments: {' '.join(odd)}")
    if "overrides" in given:
        given.overrides += rest
    try:
        return given.verb(given)
    except MendableError as error:
        print(f"\n{error}", file=sys.stderr, flush=True)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        return 130


def run(given: argparse.Namespace) -> int:
    """The whole chain, or a part of it."""
    if given.dry_run:
        return plan(given)
    recipe = _recipe(given)
    if missing := check_environment(recipe):
        raise MendableErrors(missing)
    out = _out(given, recipe)
    out.mkdir(parents=True, exist_ok=True)
    from recipes.chain import Chain
    from recipes.launch import nodes
    from recipes.log import logged
    from recipes.result import write_result
    from recipes.stages import STAGES, train

    chain = Chain(STAGES, recipe, out)
    if nodes()[1]:
        while not chain.done("before"):  # node 0 prepares and evaluates first
            time.sleep(5)
        train(recipe, out)
        return 0
    with logged(out / "run.log"):
        print(f"{recipe.name}, preset {recipe.preset}, output in {out}", flush=True)
        try:
            stamps = chain.run(given.start, given.only, given.force)
        except MendableError as error:
            with (out / "run.log").open("a") as log:
                log.write(f"{error}\n")  # main() shows it
            raise
        if given.only:
            return 0
        command = ["bash", f"recipes/{recipe.name}.sh", *given.overrides]
        result = write_result(recipe, out, stamps, [f"PRESET={recipe.preset}", *command] if recipe.preset else command)
        print(result["verdict"]["sentence"])
        print(f"report: {out / 'report.html'}", flush=True)
    return 1 if result["verdict"]["status"] == "does not look" else 0


def plan(given: argparse.Namespace) -> int:
    """What a run would adapt, hold in memory and start."""
    recipe = _recipe(given)
    from rich.console import Console

    from recipes.dry_run import dry_run, show
    from recipes.launch import train_command
    from recipes.stages import STAGES

    out = _out(given, recipe)
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


def train(given: argparse.Namespace) -> int:
    """One process of the training."""
    from recipes.stages import train_process

    train_process(load_resolved(given.out / "resolved.yaml"), given.out)
    return 0


def requirements(given: argparse.Namespace) -> int:
    """Prints the requirement files that the chosen preset needs beside requirements.txt."""
    preset, _ = choose_preset(available_presets(given.recipe), cuda_memory_gib(), given.preset)
    recipe = load_recipe(given.recipe, preset, given.overrides)
    if recipe.model.id == "demo/llava-smollm2-135m" or "easy_vqa" in (
        recipe.data.source,
        TASKS[recipe.eval.task].source,
    ):
        print("requirements-demo.txt")
    return 0


def _recipe(given: argparse.Namespace) -> Recipe:
    preset, why = choose_preset(available_presets(given.recipe), cuda_memory_gib(), given.preset)
    print(why, flush=True)
    return load_recipe(given.recipe, preset, given.overrides)


def _out(given: argparse.Namespace, recipe: Recipe) -> Path:
    return given.out or Path("out") / "-".join(filter(None, (recipe.name, recipe.preset)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m recipes",
        description="Fine-tunes vision-language models with MLP-generated LoRA adapters, and proves each step.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    raw = argparse.RawDescriptionHelpFormatter
    verbs_of_a_recipe = (("run", run, RUN), ("plan", plan, plan.__doc__), ("requirements", requirements, None))
    for name, verb, text in verbs_of_a_recipe:
        one = verbs.add_parser(name, help=str(verb.__doc__), description=text, epilog=EXAMPLES, formatter_class=raw)
        one.add_argument("recipe", type=Path, help="a recipe, such as recipes/llava_vqa.yaml")
        one.add_argument("overrides", nargs="*", metavar="section.key=value", help="over the recipe and its preset")
        one.add_argument("--preset", default=os.environ.get("PRESET") or None, help="a block of overrides ($PRESET)")
        out = os.environ.get("OUT")
        one.add_argument("--out", type=Path, default=Path(out) if out else None, help="($OUT; out/NAME-PRESET)")
        one.set_defaults(verb=verb)
        if name != "plan":  # `requirements` takes what `run` takes, since a recipe's shell file passes both the same
            one.add_argument("--from", dest="start", metavar="STAGE", help="do this stage and all after it anew")
            one.add_argument("--only", metavar="STAGE", help="do this stage alone, anew")
            one.add_argument(
                "--force", action="store_true", help="do everything anew, over another recipe's training too"
            )
            one.add_argument("--dry-run", action="store_true", help="the same as the verb plan")
    one = verbs.add_parser("train", help=str(train.__doc__), description="torchrun starts this; see run.")
    one.add_argument("out", type=Path, help="the output folder of a run, with its resolved.yaml")
    one.set_defaults(verb=train)
    return parser


if __name__ == "__main__":
    sys.exit(main())
