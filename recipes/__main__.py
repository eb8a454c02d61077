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
  python -m recipes sweep recipes/llava_vqa.yaml --kind lora op-lora --lr 1e-4:1e-2:3 --seeds 3 train.max_steps=40
  torchrun --nproc_per_node 2 -m recipes train out/llava_vqa-demo    the training alone, as `run` starts it
"""
RUN = """The stages are prepare, attach, before, train, after, collapse, merge, verify; then come result.json and
report.html. The same command again goes on after the last finished stage, and a broken training goes on from its last
whole checkpoint. Several nodes: set NNODES, NODE_RANK, MASTER_ADDR and MASTER_PORT, and run the same command on each
with OUT on a shared disk; node 0 does everything but the training alone."""

SWEEP = """Trains every method at every learning rate with every seed, each in one process without DeepSpeed and for
the rest as the recipe has it, and compares them on train.eval_rows rows held out of the training data.

A method is [op-|linear-]KIND[+]: a PEFT method (lora, rslora, dora, pissa, vera), plain or behind a generator (op-: the
paper's, linear-: without its ReLU), and with + LoRA+'s learning rate for B.  LABEL:section.key=value,… is a method of
your own, from the recipe's adapter.  Every training is a cell: a file of its own in OUT/cells.  The same command again
goes on with what is missing; started several times at once, the processes share the cells (on several GPUs with
CUDA_VISIBLE_DEVICES).  OUT/sweep.json has every number, OUT/curves.png the curves."""
SWEEP_EXAMPLES = """examples:
  python -m recipes sweep recipes/llava_vqa.yaml --preset smoke --lr 1e-3:1e-1:1 --kind lora op-lora --seeds 2
  python -m recipes sweep recipes/llava_vqa.yaml --lr 1e-4:1e-2:3 --kind lora lora+ op-lora linear-lora --seeds 3 \\
      data.limit=400 train.max_steps=40 train.eval_rows=64
  python -m recipes sweep recipes/llava_vqa.yaml --lr 1e-4,3e-4,1e-3 --seeds 3 \\
      --kind op-lora narrow:adapter.generated=true,adapter.generator.hidden=4
"""


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


def sweep(given: argparse.Namespace) -> int:
    """Methods compared over learning rates and seeds: the best rate of each, and how much it matters."""
    from recipes.sweep.grid import load_grid, parse_rates, split_words

    kinds, overrides = split_words(given.kind)
    preset, why = choose_preset(available_presets(given.recipe), cuda_memory_gib(), given.preset)
    print(why, flush=True)
    rates = parse_rates(given.lr)
    grid = load_grid(given.recipe, preset, [*given.overrides, *overrides], kinds, rates, given.seeds)
    recipes = {cell.label: cell.recipe for cell in grid}
    if missing := {str(lack): lack for recipe in recipes.values() for lack in check_environment(recipe)}:
        raise MendableErrors(missing.values())
    from rich.console import Console

    from recipes.sweep.run import work
    from recipes.sweep.summary import rich_table, write_summary

    out = _out(given, grid[0].recipe, "sweep")
    print(f"{len(grid)} trainings: {len(recipes)} methods, {len(rates)} learning rates, {given.seeds} seeds; {out}")
    work(grid, out)
    result = write_summary(grid, out)
    Console(width=None if sys.stdout.isatty() else 140).print(rich_table(result["labels"]))
    print(result["sentence"])
    if left := len(grid) - result["cells"]["finished"]:
        print(f"{left} cells are still with other processes; the last one to end, or this command again, sums up all")
    print(f"numbers: {out / 'sweep.json'}, curves: {out / 'curves.png'}", flush=True)
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


def _out(given: argparse.Namespace, recipe: Recipe, verb: str = "") -> Path:
    return given.out or Path("out") / "-".join(filter(None, (recipe.name, recipe.preset, verb)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m recipes",
        description="Fine-tunes vision-language models with MLP-generated LoRA adapters, and proves each step.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    raw = argparse.RawDescriptionHelpFormatter
    verbs_of_a_recipe = (
        ("run", run, RUN, EXAMPLES),
        ("plan", plan, plan.__doc__, EXAMPLES),
        ("sweep", sweep, SWEEP, SWEEP_EXAMPLES),
        ("requirements", requirements, None, EXAMPLES),
    )
    for name, verb, text, examples in verbs_of_a_recipe:
        one = verbs.add_parser(name, help=str(verb.__doc__), description=text, epilog=examples, formatter_class=raw)
        one.add_argument("recipe", type=Path, help="a recipe, such as recipes/llava_vqa.yaml")
        one.add_argument("overrides", nargs="*", metavar="section.key=value", help="over the recipe and its preset")
        one.add_argument("--preset", default=os.environ.get("PRESET") or None, help="a block of overrides ($PRESET)")
        out = os.environ.get("OUT")
        folder = f"out/NAME-PRESET{'-sweep' * (name == 'sweep')}"
        one.add_argument("--out", type=Path, default=Path(out) if out else None, help=f"($OUT; {folder})")
        one.set_defaults(verb=verb)
        if name == "sweep":
            one.add_argument("--lr", required=True, help="LOW:HIGH:POINTS_A_DECADE, or rates with commas between them")
            one.add_argument("--kind", required=True, nargs="+", metavar="METHOD", help="what to compare; see above")
            one.add_argument("--seeds", type=int, default=3, help="trainings a method and learning rate (%(default)s)")
        elif name != "plan":  # `requirements` takes what `run` takes, since a recipe's shell file passes both the same
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
