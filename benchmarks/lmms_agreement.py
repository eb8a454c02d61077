"""The same merged model on the same rows of Easy-VQA, answered by us and by lmms-eval, row by row.

``python -m benchmarks.lmms_agreement FOLDER --python VENV/bin/python --rows 200`` writes docs/lmms_eval/result.json.
lmms-eval lives in an environment of its own.  Both are asked in the same words, greedily, in float32, one row at a time
on lmms-eval's side (its llava_hf takes no more).
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data_prep.example import Example
from data_prep.images import open_image
from data_prep.prompts import ask
from data_prep.sources import easy_vqa
from eval_harness.lmms_eval import lmms_command, lmms_results
from eval_harness.metrics.exact_match import score
from eval_harness.sampling import sample
from eval_harness.stats import interval
from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import read_json, write_json, write_text

TASK, PROMPT, TOKENS = "easy_vqa_rows", "short_answer", 8
YAML = """\
task: {task}
dataset_path: parquet
dataset_kwargs:
  data_files:
    test: {rows}
test_split: test
output_type: generate_until
doc_to_visual: !function utils.visual
doc_to_text: !function utils.text
doc_to_target: answer
generation_kwargs:
  max_new_tokens: {tokens}
  temperature: 0
  do_sample: false
  num_beams: 1
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
    ignore_case: true
    ignore_punctuation: true
metadata:
  - version: 0.0
"""
UTILS = """\
def visual(doc):
    return [doc["image"].convert("RGB")]


def text(doc, lmms_eval_specific_kwargs=None):
    return doc["asked"]
"""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lmms_agreement", description=__doc__)
    parser.add_argument("folder", type=Path, help="a merged model")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has lmms-eval")
    parser.add_argument("--rows", type=int, default=200, help="a seeded sample (%(default)s)")
    parser.add_argument("--work", type=Path, default=Path("out/benchmarks/lmms_agreement"), help="(%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("docs/lmms_eval/result.json"), help="(%(default)s)")
    given = parser.parse_args(argv)
    rows, note = sample(list(easy_vqa.rows("test")), given.rows, balance=True, seed=0)
    ours = answered(given.folder, rows)
    write_task(given.work / "task", rows)
    command = lmms_command(
        given.folder, [TASK], given.python, given.work / "log", include=given.work / "task", device="cpu", exact=True
    )
    began = time.time() - 1
    subprocess.run(command, check=True)
    if (left := lmms_results(given.work / "log", began)) is None:
        raise MendableError("lmms-eval left no results", str(given.work / "log"), "see what it says above")
    theirs, their_score = lmms_samples(left, len(rows))
    different = [
        {"id": row.id, "question": row.question, "reference": row.answer, "ours": own, "lmms_eval": other}
        for row, own, other in zip(rows, ours, theirs, strict=True)
        if own != other
    ]
    result = {
        "rows": note or "all rows",
        "versions": versions(given.python),
        "ours": asdict(interval([score(text, row.references) for text, row in zip(ours, rows, strict=True)])),
        "lmms_eval": their_score,
        "ours_of_their_answers": sum(score(text, row.references) for text, row in zip(theirs, rows, strict=True))
        / len(rows),
        "different": different,
    }
    write_json(given.out, result)
    print(json.dumps({key: value for key, value in result.items() if key != "different"}, indent=1))
    print(f"{len(different)} of {len(rows)} answers differ: {given.out}")
    return 0


def answered(folder: Path, rows: list[Example]) -> list[str]:
    """Our answers, in the rows' order."""
    from eval_harness.models import opened
    from mlplora_vlm.load import ModelSection

    with opened(str(folder), ModelSection(str(folder), dtype="float32")) as answerer:
        found = dict(answerer.answers(rows, PROMPT, TOKENS, 16))
    return [found[number] for number in range(len(rows))]


def write_task(folder: Path, rows: list[Example]) -> None:
    """A task of lmms-eval's over exactly these rows, pictures and words."""
    from datasets import Dataset, Features, Image, Value

    def encoded(row: Example) -> dict[str, Any]:
        file = io.BytesIO()
        open_image(row.images[0]).save(file, "PNG")
        return {"bytes": file.getvalue(), "path": None}

    table = {
        "id": [row.id for row in rows],
        "image": [encoded(row) for row in rows],
        "asked": [ask(PROMPT, row.question) for row in rows],
        "answer": [row.answer for row in rows],
    }
    features = Features({"id": Value("string"), "image": Image(), "asked": Value("string"), "answer": Value("string")})
    folder.mkdir(parents=True, exist_ok=True)
    path = (folder / "rows.parquet").absolute()
    Dataset.from_dict(table, features=features).to_parquet(path)
    write_text(folder / f"{TASK}.yaml", YAML.format(task=TASK, rows=path, tokens=TOKENS))
    write_text(folder / "utils.py", UTILS)


def lmms_samples(results: Path, count: int) -> tuple[list[str], float]:
    """(lmms-eval's answers in the rows' order, stripped; its own score), of the results and the log beside them."""
    log = results.with_name(results.name.replace("_results.json", f"_samples_{TASK}.jsonl"))
    lines = [json.loads(line) for line in log.read_text("utf-8").split("\n") if line]
    found = {line["doc_id"]: line["filtered_resps"] for line in lines}
    texts = [found[number] for number in range(count)]
    scores = read_json(results)["results"][TASK]
    own = next(value for key, value in scores.items() if key.startswith("exact_match,"))
    return [(text[0] if isinstance(text, list) else text).strip() for text in texts], float(own)


def versions(python: str) -> dict[str, str]:
    """Of the environment that has lmms-eval."""
    code = "import json; from importlib.metadata import version as v; names = ('lmms-eval', 'transformers', 'torch'); "
    code += "print(json.dumps({name: v(name) for name in names}))"
    return json.loads(subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout)


if __name__ == "__main__":
    sys.exit(main())
