"""Answers questions about your pictures, as JSON lines.

WHAT are picture files and folders, each asked the one --question, or files of rows: JSON lines with image or images,
question and perhaps id, or with messages.  Their pictures are files below the file's own folder, or below --pictures.
An endpoint's key, where it wants one, comes from $MLPLORA_API_KEY or $OPENAI_API_KEY.

A line has id, question and prediction; a row that cannot be asked has error in its place, and is tried anew the next
time.  With --out the file is kept up as the answers come: the same command again goes on after whatever ended it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from data_prep.prompts import PROMPTS
from eval_harness.models import WORDS
from mlplora_vlm.files import json_text
from recipes.model_words import loaded, model_options

EXAMPLES = """\
  python -m recipes predict out/llava_vqa-demo/merged cat.png dogs/ --question "what is in the picture?"
  python -m recipes predict out/llava_vqa-demo/adapter rows.jsonl --out answers.jsonl --prompt short_answer
  python -m recipes predict http://localhost:8000/v1#llava rows.jsonl --out answers.jsonl --batch-size 64
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``predict``."""
    parser.add_argument("model", metavar="MODEL", help=WORDS)
    parser.add_argument("what", nargs="+", metavar="WHAT", help="pictures, folders of pictures, rows.jsonl")
    parser.add_argument("--question", default="", help="asked of each picture, and of rows without one of their own")
    parser.add_argument("--prompt", default="as_written", choices=sorted(PROMPTS), help="its words (%(default)s)")
    parser.add_argument("--out", type=Path, help="the file of answers (standard output)")
    parser.add_argument("--pictures", type=Path, help="the folder that the rows' pictures are in (the file's own)")
    parser.add_argument("--urls", action="store_true", help="fetch pictures that rows name by a URL")
    parser.add_argument("--max-new-tokens", type=int, default=256, help="the longest answer (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=8, help="asked at once; changes no answer (%(default)s)")
    parser.add_argument("--force", action="store_true", help="begin --out anew, whatever it holds")
    model_options(parser)


def run(given: argparse.Namespace) -> int:
    """0: every row is answered; 1: some could not be asked, and the file says why."""
    from eval_harness.answer_file import AnswerFile
    from eval_harness.asked import asked, fitting
    from eval_harness.predict import predict, run_of
    from mlplora_vlm.errors import MendableError

    for name in ("max_new_tokens", "batch_size"):
        if getattr(given, name) < 1:
            raise MendableError("it must be at least 1", f"--{name.replace('_', '-')}", "leave it out")
    rows = fitting(asked(given.what, given.question, given.pictures, given.urls), given.prompt)
    with loaded(given.model, given) as answerer:
        options = (given.prompt, given.max_new_tokens, given.batch_size)
        if given.out is None:
            counts = predict(answerer, rows, *options, write=_print)
        else:
            file = AnswerFile(given.out, run_of(answerer, given.prompt, given.max_new_tokens), given.force)
            with file:
                counts = predict(answerer, rows, *options, write=file.add, there=list(file.answered))
            file.sort([one.key for one in rows])
    before = f", {counts.there:,} of them before" if counts.there else ""
    said = f"{counts.new + counts.there:,} rows answered{before}"
    if counts.errors:
        reasons = ", ".join(f"{number} {reason}" for reason, number in counts.errors.most_common())
        said += f"; {counts.errors.total():,} could not be asked: {reasons}"
    print(said, file=sys.stderr)
    return 1 if counts.errors else 0


def _print(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        print(json_text(row))
    sys.stdout.flush()
