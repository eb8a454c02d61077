"""result.json and report.html: what a finished chain says of itself."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from mlplora_vlm import provenance
from mlplora_vlm.files import write_json
from recipes.recipe import Recipe

GALLERY = 24


def write_result(recipe: Recipe, out: Path, stamps: dict[str, dict[str, Any]], command: list[str]) -> dict[str, Any]:
    """Writes result.json and report.html from the stages' stamps; returns the result."""
    from data_prep.images import open_image
    from eval_harness.gallery import pick
    from eval_harness.predictions import read_rows
    from eval_harness.report import Sample, write_report
    from eval_harness.tasks import task_examples

    output = {name: stamp["output"] for name, stamp in stamps.items()}
    train = output["train"]
    result = {
        "schema": 1,
        "recipe": {
            "name": recipe.name,
            "preset": recipe.preset,
            "command": shlex.join(command),
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
