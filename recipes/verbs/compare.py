"""Compares evaluations on the same samples: differences with intervals, wins and losses, and the answers that changed.

A folder is one evaluation (result.json and predictions.jsonl), or holds such folders, as `evaluate` leaves them in
OUT/MODEL/TASK.  Each model is compared with the first, task by task, sample by sample: the paired bootstrap's 95 %
interval, and McNemar's test, for which a score of at least 0.5 is right.  What was asked differently, beside the model,
is refused, and what differs is said.  OUT gets compare.json, and compare.html with every answer beside its picture.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplora_vlm.errors import MendableError
from recipes.command_line import seed

if TYPE_CHECKING:
    from rich.table import Table

EXAMPLES = """\
  python -m recipes compare out/llava_vqa-demo/eval/before out/llava_vqa-demo/eval/after
  python -m recipes compare out/eval/base out/eval/tuned --data vqav2_val=/data/vqav2 --out out/base-tuned
"""
RESULT, PAGE = "compare.json", "compare.html"


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``compare``."""
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="evaluations; the first is the base")
    parser.add_argument("--out", type=Path, default=Path("out/compare"), help="(%(default)s)")
    parser.add_argument("--shared", action="store_true", help="only samples that both have, however they were drawn")
    parser.add_argument("--seed", type=seed, default=0, help="of the bootstrap (%(default)s)")
    parser.add_argument("--samples", type=int, default=5_000, help="answers in the page, at most (%(default)s)")
    parser.add_argument(
        "--data", action="append", default=[], metavar="TASK=FOLDER", help="where a task's pictures are, if elsewhere"
    )


def run(given: argparse.Namespace) -> int:
    """0; compare.json and compare.html are there."""
    from rich.console import Console

    from eval_harness.compare import compare
    from eval_harness.evaluation_page import write_models_page
    from eval_harness.evaluations import found, model_names
    from mlplora_vlm.files import write_json

    data = dict(map(_folder_of, given.data))
    models = [model for folder in given.folders for model in found(folder)]
    names = model_names(models)
    result = compare(models, names, given.seed, given.shared)
    write_json(given.out / RESULT, result)
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(rich_table(result))
    write_models_page(given.out / PAGE, models, names, result, data=data, samples=given.samples)
    print(f"numbers: {given.out / RESULT}, page: {given.out / PAGE}", flush=True)
    return 0


def rich_table(result: dict[str, Any]) -> Table:
    """The differences of every task and model for the terminal."""
    from rich.table import Table
    from rich.text import Text

    from data_prep.html import visible
    from eval_harness.evaluation_page import p_value, points
    from eval_harness.numbers import of_all, percent

    first = visible(result["first"])
    table = Table(title=Text(f"against {first}, points with 95 % intervals"))
    for name in ("task", "model", "N", "first", "model’s", "difference", "wins", "losses", "ties", "McNemar’s p"):
        table.add_column(name, justify="left" if name in ("task", "model") else "right")
    for task, one in result["tasks"].items():
        for pair in one["comparisons"]:
            cell, test = pair["scores"]["overall"], pair["mcnemar"]["overall"]
            shares = [cell[side]["score"] for side in ("first", "other")]
            difference = f"{points(cell['difference'])} ({points(cell['low'])} to {points(cell['high'])})"
            if one["by_heart"]:
                difference = "learnt by heart, no score"
            not_shared = pair["only_first"] + pair["only_other"]
            table.add_row(
                *map(Text, (visible(task), visible(pair["other"]))),
                f"{cell['n']:,}" + (f" ({not_shared:,} not shared)" if not_shared else ""),
                *(of_all(share, cell["n"]) if one["by_heart"] else percent(share) for share in shares),
                difference,
                *(f"{cell[key]:,}" for key in ("wins", "losses", "ties")),
                "" if one["by_heart"] else p_value(test["p"]),
            )
    return table


def _folder_of(word: str) -> tuple[str, str]:
    task, sign, folder = word.partition("=")
    if not (task and sign and folder):
        raise MendableError(f"--data takes TASK=FOLDER, not {word!r}", "--data", "such as vqav2_val=/data/vqav2")
    return task, folder
