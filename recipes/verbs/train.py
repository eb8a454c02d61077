"""One process of the training; torchrun starts it, see run."""

from __future__ import annotations

import argparse
from pathlib import Path

from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import write_text
from recipes.recipe import load_resolved

EXAMPLES = """\
  torchrun --nproc_per_node 2 -m recipes train out/llava_vqa-demo    the training alone, as `run` starts it
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``train``."""
    parser.add_argument("out", type=Path, help="the output folder of a run, with its resolved.yaml")


def run(given: argparse.Namespace) -> int:
    from recipes.stages import TRAINING_ERROR, train_process

    try:
        train_process(load_resolved(given.out / "resolved.yaml"), given.out)
    except MendableError as error:
        write_text(given.out / TRAINING_ERROR, error.what)
        raise
    return 0
