"""Evaluation of the demo's VLM on Easy-VQA: one process or two, and what encoding a picture once saves.

First the whole test split (9,673 questions about 1,000 pictures) by one process and by two, each with one thread: the
results must be equal.
Then rates on all questions about some of the pictures, in interleaved runs: with each picture encoded once, and with
each encoded for each of its questions, with two threads.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from benchmarks.bars import Bars, plot_bars
from benchmarks.common import SCRATCH, Cells, parse, write_result
from eval_harness.controls import PictureKeys
from eval_harness.models import model_name
from mlplora_vlm.files import claim_folder, read_json
from recipes.readme import markdown

if TYPE_CHECKING:
    from data_prep.example import Example

ROOT = Path(__file__).parents[1]
FULL: dict[str, Any] = {
    "model": "demo/llava-smollm2-135m", "task": "easy_vqa_test", "pictures": 20, "rounds": 3, "batch_size": 32,
    "threads": 2,
}  # fmt: skip
QUICK = FULL | {"model": "demo/tiny-llava", "task": "shapes_test", "pictures": 8, "rounds": 1, "batch_size": 8}
CIRCUMSTANCES = ("seconds", "samples_per_second", "processes", "device")
WAYS = {"once": "each picture once", "each": "for every question"}


def main(argv: Sequence[str] | None = None) -> int:
    """Measures what is missing and writes the result."""
    options = parse("evaluation", __doc__, argv)
    settings = QUICK if options.quick else FULL
    scratch = SCRATCH / ("quick" if options.quick else "")
    cells, folder = Cells(scratch / "evaluation.jsonl"), scratch / "evaluation"
    claim_folder(folder)
    found: dict[str, Any] = {"whole": {}, "rounds": []}
    for processes in (1, 2):
        key = {"whole": processes, "settings": settings}
        if key not in cells:
            cells[key] = whole(settings, processes, folder / f"whole-{processes}")
            print(key, cells[key], flush=True)
        found["whole"][str(processes)] = cells[key]
    for number in range(settings["rounds"]):
        key = {"round": number, "settings": settings}
        if key not in cells:
            cells[key] = one_round(settings, number)
            print(key, cells[key], flush=True)
        found["rounds"].append(cells[key])
    one, two = (found["whole"][name]["result"] for name in ("1", "2"))
    found["equal"] = one == two
    result = write_result("evaluation", settings, found, options.out)
    plot_bars(options.out / "evaluation.png", panels(result))
    shutil.rmtree(folder)
    return 0 if found["equal"] else 1


def whole(settings: Mapping[str, Any], processes: int, out: Path) -> dict[str, Any]:
    """The whole split by the command line: digest of all answers, result but for its circumstances, seconds, rate."""
    from mlplora_vlm.files import sha256

    words = ["evaluate", settings["model"], "--tasks", settings["task"], "--batch-size", str(settings["batch_size"])]
    words += ["--out", str(out)]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"] if processes > 1 else []
    one = {"OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *launcher, "-m", "recipes", *words], cwd=ROOT, env=os.environ | one, check=True)
    folder = out / model_name(settings["model"]) / settings["task"]
    result = read_json(folder / "result.json")
    return {
        "result": {key: value for key, value in result.items() if key not in CIRCUMSTANCES}
        | {"answers": sha256(folder / "predictions.jsonl")},
        "seconds": result["seconds"],
        "rate": result["samples_per_second"],
    }


def one_round(settings: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Questions a second of each way, one after the other, and how many pictures were encoded."""
    import torch

    from eval_harness.evaluate import task_sample
    from eval_harness.models import opened
    from eval_harness.section import EvalSection
    from mlplora_vlm.load import ModelSection

    torch.set_num_threads(settings["threads"])
    section = EvalSection(settings["task"], limit=0)
    rows, task = about(task_sample(section)[0], settings["pictures"]), section.chosen()
    found: dict[str, Any] = {}
    with opened(settings["model"], ModelSection(settings["model"], dtype="float32")) as answerer:
        dict(answerer.answers(rows[:8], task.prompt, task.max_new_tokens, 8, "warm-up"))
        for way in list(WAYS) if number % 2 else list(WAYS)[::-1]:
            with _reuse(way == "once") as encoded:
                began = time.perf_counter()
                answers = answerer.answers(rows, task.prompt, task.max_new_tokens, settings["batch_size"], way)
                found[way] = {"answers": dict(sorted(answers)), "seconds": time.perf_counter() - began}
            found[way]["encoded"] = sum(encoded)
    equal = found["once"].pop("answers") == found["each"].pop("answers")
    return found | {"equal": equal, "rows": len(rows)}


def about(rows: Sequence[Example], pictures: int) -> list[Example]:
    """All questions about so many pictures, drawn by a seed."""
    key = PictureKeys()
    names = sorted({key(picture) for row in rows for picture in row.images})
    chosen = set(random.Random(0).sample(names, pictures))
    return [row for row in rows if chosen.issuperset(map(key, row.images))]


@contextmanager
def _reuse(wanted: bool) -> Iterator[list[int]]:
    """Inside, pictures are encoded once, or once for every question; the list gets how many were."""
    from mlplora_vlm.picture_features import PictureFeatures

    real, encoded = PictureFeatures.put_in, list[int]()

    def counted(self: Any, batch: Any, rows: Any, picture: Any) -> Any:
        before = self.encoded
        made = real(self, batch, rows, picture) if wanted else dict(batch)
        encoded.append(self.encoded - before if "mm_encoder_outputs" in made else sum(map(len, rows)))
        return made

    with patch.object(PictureFeatures, "put_in", counted):
        yield encoded


def table(result: Mapping[str, Any]) -> str:
    """Rates of each way, and whether one process and two found the same."""
    rounds, one, two = result["rounds"], result["whole"]["1"], result["whole"]["2"]
    rows = []
    for way, name in WAYS.items():
        rates = [each["rows"] / each[way]["seconds"] for each in rounds]
        gains = [each["each"]["seconds"] / each[way]["seconds"] for each in rounds]
        rows.append(
            [
                name,
                f"{rounds[0][way]['encoded']:,}",
                f"{statistics.median(rates):.1f} ({min(rates):.1f}–{max(rates):.1f})",
                f"{statistics.median(gains):.2f} ({min(gains):.2f}–{max(gains):.2f})",
            ]
        )
    first = rounds[0]
    heads = ["pictures are encoded", "encoder runs", "questions/s", "x for every question"]
    said = (
        f"{first['rows']:,} questions about {result['settings']['pictures']} pictures, {len(rounds)} rounds in turn, "
        f"median and range. Answers of both ways equal: {'yes' if all(each['equal'] for each in rounds) else 'NO'}."
    )
    score = one["result"]["scores"]["overall"]
    whole = (
        f"The whole split ({score['n']:,} questions) by one process and by two: results and every answer "
        f"{'equal' if result['equal'] else 'NOT EQUAL'} ({one['seconds']:,.0f} s and {two['seconds']:,.0f} s: "
        f"{one['rate']:.1f} and {two['rate']:.1f} questions/s, one thread a process)."
    )
    return "\n\n".join([markdown(heads, rows, right=3), said, whole])


def panels(result: Mapping[str, Any]) -> list[Bars]:
    """Questions a second: the whole split by processes, and with pictures encoded once or for every question."""
    names = {"1": "one process", "2": "two processes"}
    whole = [result["whole"][number]["rate"] for number in names]
    rates = {way: sorted(one["rows"] / one[way]["seconds"] for one in result["rounds"]) for way in WAYS}
    spans = [(statistics.median(found), found[0], found[-1]) for found in rates.values()]
    return [
        Bars("the whole test split", list(names.values()), {"rate": whole}, "questions/s"),
        Bars("a picture is encoded (median, range)", list(WAYS.values()), {"rate": spans}, "questions/s"),
    ]


if __name__ == "__main__":
    sys.exit(main())
