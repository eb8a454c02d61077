"""One process of the training; torchrun starts it, see run."""

from __future__ import annotations

import argparse
from pathlib import Path

from recipes.recipe import load_resolved

EXAMPLES = """\
  torchrun --nproc_per_node 2 -m recipes train out/llava_vqa-demo    the training alone, as `run` starts it
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``train``."""
    parser.add_argument("out", type=Path, help="the output folder of a run, with its resolved.yaml")


def run(given: argparse.Namespace) -> int:
    from recipes.stages import train_process

    train_process(load_resolved(given.out / "resolved.yaml"), given.out)
    return 0
