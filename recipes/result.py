"""result.json and report.html: what a finished chain says of itself."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlplora_vlm import provenance
from mlplora_vlm.files import read_json, write_json
from recipes.recipe import Recipe

GALLERY = 24
"""Answers in report.html: few enough to mail the page and to keep it in a repository; `compare` shows all of them."""
TOLD = ("prepare", "leaks", "attach", "before", "train", "after", "collapse", "merge", "verify")
"""The stages that the result tells of, in their order."""


def write_result(recipe: Recipe, out: Path) -> dict[str, Any]:
    """Writes result.json and report.html from what the stages before left in ``out``; returns the result."""
    from eval_harness.gallery import pick, samples_of
    from eval_harness.predictions import read_rows
    from eval_harness.report import write_report
    from eval_harness.tasks import task_examples

    stamps = {name: read_json(out / ".stages" / f"{name}.json") for name in TOLD}
    result = result_of(recipe, stamps, said_command(out))
    write_json(out / "result.json", result)
    task, folders = recipe.eval.task, [out / "eval" / when for when in ("before", "after")]
    asked = samples_of(task, [read_rows(folder / "predictions.jsonl") for folder in folders])
    shown = pick([sample for sample in asked if all(sample.answers)], GALLERY, recipe.eval.seed)
    examples = task_examples(recipe.eval.rows_of(recipe.eval.chosen().split), {sample.id for sample in shown})
    pictures = {(task, example.id): example.images for example in examples}
    everything = shlex.join(["python", "-m", "recipes", "compare", *map(str, folders)])
    write_report(out, result, shown, pictures, everything)
    return result


def result_of(recipe: Recipe, stamps: Mapping[str, Mapping[str, Any]], command: str) -> dict[str, Any]:
    """What result.json holds, from the stamps of the stages in `TOLD`."""
    output = {name: stamps[name]["output"] for name in TOLD}
    train = output["train"]
    return {
        "schema": 1,
        "recipe": {
            "name": recipe.name,
            "preset": recipe.preset,
            "command": command,
            "resolved": recipe.to_dict(),
        },
        "started": stamps[TOLD[0]].get("started"),  # stamps of earlier versions have none
        "finished": stamps["verify"]["finished"],
        "commit": provenance.commit(),
        "versions": provenance.versions(),
        "device": provenance.device(),
        "dtype": output["prepare"]["dtype"],
        "training_rows": output["prepare"]["rows"],
        "rows_left_out": output["prepare"]["left_out"],
        "adapted_layers": output["attach"]["adapted_layers"],
        "parameters": {
            "base": output["attach"]["parameters"]["base"],
            "trained": output["attach"]["parameters"]["adapter"],
            "full": output["attach"]["parameters"]["full"],
            "generator": output["attach"]["parameters"]["generator"],
        },
        "seconds": {name: stamps[name]["seconds"] for name in TOLD},
        "peak_memory_mib": {name: stamps[name]["peak_memory_mib"] for name in TOLD},
        "training": train,
        "scores": {"before": output["before"], "after": output["after"]["summary"]},
        "verdict": output["after"]["verdict"],
        "collapse": output["collapse"],
        "merge": output["merge"],
        "verify": output["verify"],
    }


def note_command(out: Path, command: str) -> None:
    """Leaves the command line where the result finds it."""
    write_json(out / ".stages" / "command.json", command)


def said_command(out: Path) -> str:
    """What `note_command` left; empty where nothing did."""
    path = out / ".stages" / "command.json"
    return str(read_json(path)) if path.is_file() else ""
