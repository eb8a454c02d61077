"""Writes an evaluation's answers in the form that the set's official server or script takes.

FOLDER holds predictions.jsonl and result.json, as `evaluate` and `run` leave them.  The forms, and what each is made
of, are in docs/predict.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from eval_harness.export import FORMS, export

EXAMPLES = """\
  python -m recipes export vqav2 out/eval/llava/vqav2_val --out vqav2.json
  python -m recipes export mmbench out/eval/llava/mmbench_dev --out mmbench.tsv --annotations mmbench_dev_20230712.tsv
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``export``."""
    parser.add_argument("form", metavar="FORM", help=f"one of {', '.join(FORMS)}")
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="one evaluation, such as OUT/MODEL/TASK")
    parser.add_argument("--out", type=Path, required=True, help="the file to hand in")
    parser.add_argument("--annotations", type=Path, help="MMBench's official .tsv, whose choices its form repeats")


def run(given: argparse.Namespace) -> int:
    """0; the file is there."""
    notes = export(given.form, given.folder.expanduser(), given.out.expanduser(), given.annotations)
    print(f"{given.out}: {notes[0]}")
    for note in notes[1:]:
        print(f"  {note}")
    return 0
