"""result.json and report.html: what a finished chain says of itself."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlplora_vlm import provenance
from mlplora_vlm.files import read_json, write_json
from recipes.recipe import Recipe

GALLERY = 24
TOLD = ("prepare", "leaks", "attach", "before", "train", "after", "collapse", "merge", "verify")
"""The stages that the result tells of, in their order."""


def write_result(recipe: Recipe, out: Path) -> dict[str, Any]:
    """Writes result.json and report.html from what the stages before left in ``out``; returns the result."""
    from data_prep.images import open_image
    from eval_harness.gallery import pick
    from eval_harness.predictions import read_rows
    from eval_harness.report import Sample, write_report
    from eval_harness.tasks import task_examples

    stamps = {name: read_json(out / ".stages" / f"{name}.json") for name in TOLD}
    output = {name: stamp["output"] for name, stamp in stamps.items()}
    train = output["train"]
    result = {
        "schema": 1,
        "recipe": {
            "name": recipe.name,
            "preset": recipe.preset,
            "command": said_command(out),
            "resolved": recipe.to_dict(),
        },
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
        "seconds": {name: stamp["seconds"] for name, stamp in stamps.items()},
        "peak_memory_mib": {name: stamp["peak_memory_mib"] for name, stamp in stamps.items()},
        "training": train,
        "scores": {"before": output["before"], "after": output["after"]["summary"]},
        "verdict": output["after"]["verdict"],
        "collapse": output["collapse"],
        "merge": output["merge"],
        "verify": output["verify"],
    }
    write_json(out / "result.json", result)
    rows_before, rows_after = (read_rows(out / "eval" / when / "predictions.jsonl") for when in ("before", "after"))
    pairs = {pair.id: pair for pair in pick(rows_before, rows_after, n=GALLERY, seed=recipe.eval.seed)}
    shown = task_examples(recipe.eval.rows_of(recipe.eval.chosen().split), pairs)
    pictures = {example.id: open_image(example.images[0]) for example in shown}
    write_report(out, result, [Sample(image=pictures[name], **vars(pair)) for name, pair in pairs.items()])
    return result


def note_command(out: Path, command: Sequence[str]) -> None:
    """Leaves the command line where the result finds it."""
    write_json(out / ".stages" / "command.json", list(command))


def said_command(out: Path) -> str:
    """What `note_command` left; empty where nothing did."""
    path = out / ".stages" / "command.json"
    return shlex.join(read_json(path)) if path.is_file() else ""
