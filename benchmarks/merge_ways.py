"""Three ways to merge a QLoRA adapter, on the demo's model: how far each is from the model that was trained.

A short training on the 4-bit demo base, then: the 4 bits dequantized and the adapter added (the project's way), the
adapter added to the published full-precision weights, and PEFT's merge inside 4 bits, which rounds the sum to 4 bits
again.  Relative errors of the logits on the recorded batch of training rows.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.bars import Bars, plot_bars
from benchmarks.common import SCRATCH, parse, write_result
from mlplora_vlm.load import ModelSection
from recipes.readme import markdown

RECIPE = Path(__file__).parents[1] / "recipes" / "llava_vqa.yaml"
FULL = {
    "preset": "demo-qlora",
    "overrides": (
        "data.limit=400",
        "train.max_steps=8",
        "train.batch_size=4",
        "train.gradient_accumulation=1",
        "train.save_steps=8",
        "train.learning_rate=1e-3",
    ),
}
QUICK = {
    "preset": "smoke",
    "overrides": ("model.quantization=nf4", "train.max_steps=8", "train.save_steps=8", "train.batch_size=4"),
}
WAYS = ("dequantized, then merged", "onto the original weights", "inside 4 bits")


def main(argv: Sequence[str] | None = None) -> int:
    """Trains where that has not been done yet, and measures."""
    from data_prep.demo.models import model_path
    from recipes.chain import Chain
    from recipes.recipe import load_recipe
    from recipes.stages import STAGES

    options = parse("merge_ways", __doc__, argv)
    settings: dict[str, Any] = QUICK if options.quick else FULL
    recipe = load_recipe(RECIPE, settings["preset"], settings["overrides"])
    out = SCRATCH / ("quick" if options.quick else "") / "merge_ways"
    chain = Chain(STAGES, recipe, out)
    for stage in ("prepare", "train", "collapse"):
        if not chain.done(stage):
            chain.run(only=stage)
    path, train = model_path(recipe.model.id), chain.stamp("train")["output"]
    measured = {"loss": [e["loss"] for e in train["log"] if "loss" in e], **ways(path, recipe.model, out)}
    result = write_result("merge_ways", settings, measured, options.out)
    plot_bars(options.out / "merge_ways.png", panels(result))
    return 0


def ways(path: str, settings: ModelSection, out: Path) -> dict[str, Any]:
    """Relative logit errors by way, and of leaving the adapter out; how many of the best tokens differ."""
    import torch

    from mlplora_vlm.load import load_model, load_tuned
    from mlplora_vlm.merge import MergeSection, merge
    from mlplora_vlm.verify import LOGITS, answer_logits, read_reference, relative_error

    batches = read_reference(out / "train" / "reference.safetensors")
    wanted = torch.cat([batch.pop(LOGITS) for batch in batches])

    def compared(model: Any) -> dict[str, float]:
        got = torch.cat([answer_logits(model, batch) for batch in batches])
        other = (got.argmax(-1) != wanted.argmax(-1)).double().mean().item()
        return {"error": relative_error(got, wanted), "other_token": other}

    found: dict[str, Any] = {"tokens": len(wanted)}
    for way, base in zip(WAYS, ("dequantized", "original"), strict=False):
        with tempfile.TemporaryDirectory(dir=out) as folder:
            merged = Path(folder) / base
            merge(path, settings, out / "adapter", merged, MergeSection(base))  # type: ignore[arg-type]
            found[way] = compared(load_model(str(merged), ModelSection(str(merged), dtype="float32")).eval())
    tuned = load_tuned(path, out / "adapter", settings)
    found["not merged (4-bit base and adapter)"] = compared(tuned)
    with tuned.disable_adapter():
        found["the base without adapter"] = compared(tuned)
    with torch.no_grad():
        found[WAYS[2]] = compared(tuned.merge_and_unload())
    return {"errors": found, "dtype": "float32"}


def table(result: Mapping[str, Any]) -> str:
    """Errors of each way, and of two models for comparison."""
    errors = result["errors"]
    names = (*WAYS, *(name for name in errors if name not in (*WAYS, "tokens")))
    rows = [[name, f"{errors[name]['error']:.1e}", f"{100 * errors[name]['other_token']:.1f} %"] for name in names]
    said = f"{errors['tokens']} answer tokens of the training rows, {result['dtype']}; {len(result['loss'])} steps."
    heads = ["way", "relative error of the logits", "another best token"]
    return f"{said}\n\n{markdown(heads, rows, right=2)}"


def panels(result: Mapping[str, Any]) -> list[Bars]:
    """The logits' error of each way."""
    errors = {name: found["error"] for name, found in result["errors"].items() if name != "tokens"}
    title = "against the model that was trained"
    return [Bars(title, list(errors), {"error": list(errors.values())}, "relative error of the logits", log_x=True)]


if __name__ == "__main__":
    sys.exit(main())
