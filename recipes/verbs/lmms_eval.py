"""Prints the command line that evaluates a merged model with lmms-eval, and runs it with --run.

lmms-eval (github.com/EvolvingLMMs-Lab/lmms-eval) is not among this project's packages: install it into an environment
of its own, and name that environment's interpreter with --python.  Which of lmms-eval's models reads the family stands
on the family's card.  Why two harnesses' scores of one model may differ: docs/lmms_eval.md.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path

from eval_harness.lmms_eval import lmms_command, lmms_results
from mlplora_vlm.errors import MendableError

EXAMPLES = """\
  python -m recipes lmms-eval out/llava_vqa-lora-80gb/merged --tasks vqav2_val,pope
  python -m recipes lmms-eval out/llava_vqa-demo/merged --tasks mine --include my_tasks/ --device cpu \\
      --python /venvs/lmms/bin/python --run
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``lmms-eval``."""
    parser.add_argument("folder", metavar="MERGED_FOLDER", type=Path, help="a merged model")
    parser.add_argument("--tasks", required=True, help="lmms-eval's own names, with commas between them")
    parser.add_argument("--out", type=Path, default=Path("out/lmms_eval"), help="lmms-eval's logs (%(default)s)")
    parser.add_argument("--include", type=Path, help="a folder with lmms-eval tasks of your own")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, cpu (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=1, help="not all of lmms-eval's models take more (1)")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has lmms-eval")
    parser.add_argument("--run", action="store_true", help="run it, and not only print it")


def run(given: argparse.Namespace) -> int:
    """0; with --run lmms-eval's own exit code, or 1 where it left no results."""
    tasks = [task.strip() for task in given.tasks.split(",") if task.strip()]
    words = lmms_command(
        given.folder.expanduser(), tasks, given.python, given.out, given.include, given.device, given.batch_size
    )
    print(shlex.join(words), flush=True)
    if not given.run:
        return 0
    if not has_lmms_eval(given.python):
        fix = "python -m venv lmms && lmms/bin/pip install lmms-eval decord, then --python lmms/bin/python"
        raise MendableError("this environment has no lmms-eval", given.python, fix)
    began = time.time() - 1  # a disk's clock may be coarser
    code = subprocess.run(words).returncode
    results = lmms_results(given.out, began)
    print(f"results: {results}" if results else f"lmms-eval left no results in {given.out}: see above", flush=True)
    return code or int(results is None)


def has_lmms_eval(python: str) -> bool:
    """Whether the interpreter finds the package; it is not imported, which takes long."""
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('lmms_eval') is None)"
    try:
        return subprocess.run([python, "-c", code], cwd="/", capture_output=True).returncode == 0
    except OSError:
        return False
