"""Benchmarks of one or several models: scores with intervals, controls, a page to read.

Each model answers each task; OUT/MODEL/TASK/ has every answer (predictions.jsonl), the scores (result.json) and
report.html.  A run that was stopped goes on in the middle of a task; answers of another model, task version, prompt or
decoding are never mixed in.  Under torchrun every process answers a share of the questions, with the same result.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from eval_harness.models import WORDS, model_name
from eval_harness.section import EvalSection
from eval_harness.tasks import TASKS, known_task
from mlplora_vlm.errors import MendableError, MendableErrors
from mlplora_vlm.load import ModelSection

EXAMPLES = """\
  python -m recipes evaluate demo/llava-smollm2-135m out/llava_vqa-demo/merged --tasks easy_vqa_test --limit 1000
  python -m recipes evaluate out/qwen_vl_vqa-qlora-24gb/adapter@nf4 --tasks vqav2_val textvqa_val pope_adversarial
  torchrun --nproc_per_node 8 -m recipes evaluate llava-hf/llava-1.5-7b-hf --tasks gqa_testdev --data /data
  python -m recipes evaluate http://localhost:8000/v1#Qwen/Qwen2.5-VL-7B-Instruct --tasks chartqa_test
"""
PAGE = "report.html"
CONTROLS = ("blank", "shuffled", "prior")


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``evaluate``."""
    add = parser.add_argument
    add("models", nargs="+", metavar="MODEL", help=WORDS)
    add("--tasks", nargs="+", required=True, metavar="TASK", help=f"of: {', '.join(TASKS)}")
    add("--data", type=Path, default=Path("data"), help="where the verb download left the sets (%(default)s)")
    add("--folder", action="append", default=[], metavar="TASK=FOLDER", help="where one task's set lies")
    add("--limit", type=int, default=0, help="a seeded sample, each category in its share (0: all rows)")
    add("--controls", nargs="*", choices=CONTROLS, default=[], help="answer without looking, too: see the report")
    add("--batch-size", type=int, default=32, help="questions at once (%(default)s); changes no answer")
    add("--dtype", choices=("auto", "float32", "bfloat16"), default="auto", help="(%(default)s)")
    add("--picture-tokens", type=int, help="no picture costs more tokens than this")
    add("--seed", type=int, default=0, help="of the sample, the shuffling and the bootstrap")
    add("--trust-remote-code", action="store_true", help="run Python code from a model's repo")
    add("--out", type=Path, default=Path(os.environ.get("OUT") or "out/evaluation"), help="($OUT; %(default)s)")


def run(given: argparse.Namespace) -> int:
    """0, with every result on disk."""
    settings = dict(_settings(given))
    names = [model_name(word) for word in given.models]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise MendableError(f"two models are called {twice[0]}", "evaluate", "evaluate them into two folders (--out)")
    from eval_harness.evaluate import evaluate
    from eval_harness.evaluation_page import write_evaluation_page
    from eval_harness.models import opened
    from eval_harness.processes import Processes
    from eval_harness.summary import Line, summary_table

    lines, first = [], Processes.here().first
    for word, name in zip(given.models, names, strict=True):
        section = ModelSection(
            word, dtype=given.dtype, picture_tokens=given.picture_tokens, trust_remote_code=given.trust_remote_code
        )
        with opened(word, section) as answerer:
            for task, choice in settings.items():
                folder = given.out / name / task
                result = evaluate(answerer, choice, folder)
                lines.append(Line(name, task, result))
                if first:
                    write_evaluation_page(folder / PAGE, [folder])
    if first:
        from rich.console import Console

        Console(width=None if sys.stdout.isatty() else 160).print(summary_table(lines))
        print(f"results, and a {PAGE} of each: {given.out}", flush=True)
    return 0


def _settings(given: argparse.Namespace) -> Iterator[tuple[str, EvalSection]]:
    """(task, what is measured) of each task, after a look at whether its files are there."""
    from data_prep.sources import check_source

    folders = dict(_own_folders(given.folder))
    missing: list[MendableError] = []
    for name in dict.fromkeys(given.tasks):
        task = known_task(name)
        folder = folders.get(name) or _usual_folder(given.data, task.source)
        choice = EvalSection(
            name,
            folder=str(folder) if folder else None,
            limit=given.limit,
            batch_size=given.batch_size,
            controls=tuple(given.controls),
            seed=given.seed,
        )
        try:
            check_source(choice.rows_of(task.split))
        except MendableErrors as several:
            missing += several.errors
        except MendableError as error:
            missing.append(error)
        yield name, choice
    if missing:
        raise MendableErrors(missing)


def _own_folders(words: list[str]) -> Iterator[tuple[str, Path]]:
    for word in words:
        task, equals, folder = word.partition("=")
        if not equals or task not in TASKS:
            raise MendableError(f"{word!r} is no TASK=FOLDER", "--folder", f"tasks: {', '.join(TASKS)}")
        yield task, Path(folder).expanduser()


def _usual_folder(data: Path, source: str) -> Path | None:
    """Where the verb download puts the source's set; None for sources that bring their own."""
    from data_prep.public_sets import SETS

    return next((data / Path(each.folder).name for each in SETS if each.source == source), None)
