"""What `python -m recipes plan` foresees, against what a training really holds: bytes of live tensors at their peak.

Each configuration of the demo's model trains three steps through the Trainer under DeepSpeed ZeRO-2, in a process of
its own, on rows of Easy-VQA.  Every tensor counts from the first operation that returns it until its storage is freed
(`benchmarks.live_bytes`).  "resident" is the process's own largest memory, with Python, torch and all libraries.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from benchmarks.bars import Bars, plot_bars
from benchmarks.common import SCRATCH, Cells, clean_processes, parse, rounded, write_result
from mlplora_vlm.memory import AdapterNumbers, HardwareSection, adapter_numbers, estimate, peak
from recipes.readme import markdown
from recipes.recipe import Recipe, load_recipe

RECIPE = Path(__file__).parents[1] / "recipes" / "llava_vqa.yaml"
GENERATED, PLAIN = ["adapter.generated=true"], ["adapter.generated=false"]
NF4 = ["model.quantization=nf4"]
CONFIGURATIONS: dict[str, list[str]] = {
    "fp32 LoRA, 4 rows": [*PLAIN, "train.batch_size=4"],
    "fp32 LoRA, 16 rows": [*PLAIN, "train.batch_size=16"],
    "fp32 LoRA, 16 rows, checkpointing": [*PLAIN, "train.batch_size=16", "train.gradient_checkpointing=true"],
    "bf16 LoRA, 4 rows": [*PLAIN, "train.batch_size=4", "model.dtype=bfloat16"],
    "OP-LoRA, 4 rows": [*GENERATED, "train.batch_size=4"],
    "OP-LoRA, 8-bit moments, 4 rows": [*GENERATED, "train.batch_size=4", "adapter.generator.states=8bit"],
    "OP-LoRA, bf16 W2, 4 rows": [*GENERATED, "train.batch_size=4", "adapter.generator.weights=bfloat16"],
    "NF4 LoRA, 4 rows": [*PLAIN, *NF4, "train.batch_size=4"],
    "NF4 OP-LoRA, 4 rows": [*GENERATED, *NF4, "train.batch_size=4"],
    "NF4 OP-LoRA, 16 rows, checkpointing": [
        *GENERATED, *NF4, "train.batch_size=16", "train.gradient_checkpointing=true"
    ],
    "int8 LoRA, 4 rows": [*PLAIN, "model.quantization=int8", "train.batch_size=4"],
}  # fmt: skip
COMMON = ["model.dtype=float32", "adapter.rank=8", "train.gradient_accumulation=1", "train.max_steps=3"]
QUICK = ["fp32 LoRA, 4 rows", "NF4 OP-LoRA, 4 rows"]
MIB = 2**20


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the configurations that are missing, one after the other, and writes the result."""
    options = parse("plan_check", __doc__, argv)
    preset, names = ("smoke", QUICK) if options.quick else ("demo", list(CONFIGURATIONS))
    cells = Cells(SCRATCH / ("quick" if options.quick else "") / "plan_check.jsonl")
    rows: list[dict[str, Any]] = []
    for name in names:
        key = {"configuration": name, "preset": preset, "overrides": [*COMMON, *CONFIGURATIONS[name]]}
        if key not in cells:
            cells[key] = in_a_process(preset, key["overrides"])
        rows.append({"configuration": name, **beside(load_recipe(RECIPE, preset, key["overrides"]), cells[key])})
        row = rows[-1]
        print(
            f"{name}: foreseen {row['predicted'] / MIB:,.1f} MiB, measured {row['measured'] / MIB:,.1f} MiB, "
            f"{row['predicted'] / row['measured']:.3f}",
            flush=True,
        )
    result = write_result("plan_check", {"preset": preset, "common": COMMON}, {"rows": rows}, options.out)
    plot_bars(options.out / "plan_check.png", panels(result))
    return 0


def in_a_process(preset: str, overrides: Sequence[str]) -> dict[str, Any]:
    """`measured` in a child that ends with it, and its largest resident memory."""
    with ProcessPoolExecutor(1, clean_processes()) as pool:
        return pool.submit(_alone, preset, list(overrides)).result()


def _alone(preset: str, overrides: list[str]) -> dict[str, Any]:
    import torch

    torch.set_num_threads(1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
                   "DS_ACCELERATOR": "cpu"}  # fmt: skip
    with Path(os.devnull).open("w") as nothing, redirect_stdout(nothing), redirect_stderr(sys.__stderr__):
        found = measured(load_recipe(RECIPE, preset, overrides))
    return found | {"resident": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def measured(recipe: Recipe) -> dict[str, Any]:
    """The live bytes of a short training of ``recipe``, and what its rows are; all are of one length."""
    from transformers import set_seed

    from benchmarks.live_bytes import living, watched
    from data_prep.demo.models import model_path
    from mlplora_vlm.attach import attach
    from mlplora_vlm.load import load_model
    from mlplora_vlm.training import deepspeed_config, train, training_arguments

    path = model_path(recipe.model.id)
    batch, pictures = batch_of(recipe, path)
    before = set(living())
    # DeepSpeed's buffer for gradients is no larger than they are: untouched pages of a larger one would count too
    engine = deepspeed_config(recipe.train)
    engine["zero_optimization"]["reduce_bucket_size"] = foreseen_numbers(recipe).trained
    with tempfile.TemporaryDirectory() as out:
        arguments = training_arguments(recipe.train, recipe.model.dtype == "bfloat16", Path(out), deepspeed=engine)
        arguments.save_strategy = "no"
        model = load_model(path, recipe.model)
        set_seed(0)
        tuned, _ = attach(model, recipe.adapter)
        known = [tensor for key, (_, tensor) in living().items() if key not in before]
        held = {"model": known, "inputs": list(batch.values())}
        rows = [{"row": number} for number in range(recipe.train.batch_size * recipe.train.max_steps)]
        trained = [p for p in tuned.parameters() if p.requires_grad]
        with watched(held, trained) as live:
            del held, known
            train(tuned, rows, lambda _: dict(batch), recipe.train, recipe.adapter, arguments)
    return {
        "tokens": batch["input_ids"].shape[1],
        "rows": recipe.train.batch_size,
        "pictures": [pictures.positions, pictures.attended],
        "measured": sum(live.peak.values()) - sum(tensor.nbytes for tensor in batch.values()),
        "live": live.peak,
    }


def beside(recipe: Recipe, row: Mapping[str, Any]) -> dict[str, Any]:
    """The measured row with what the plan says of the same training: one process on a CPU, without Python's own.

    "planned" leaves room for hidden units that are on for the first time later on; "predicted" counts those that are on
    at the start, as in a training of three steps.
    """
    import torch

    from mlplora_vlm.activation_bytes import TowerInput
    from mlplora_vlm.attach import attach
    from mlplora_vlm.meta import meta_model
    from mlplora_vlm.optimizer import adapter_groups
    from mlplora_vlm.optimizer_bytes import EVER_ON, on_at_start
    from recipes.dry_run import model_config

    def kinds(on: float) -> dict[str, int]:
        pictures = TowerInput(*row["pictures"])
        sections = (recipe.model, recipe.adapter, recipe.train, HardwareSection(gpus=0))
        found = estimate(model, *sections, tokens=row["tokens"], pictures=pictures, on=on)
        return {kind: size for kind, size in found.host.items() if kind != "processes"}

    model, on = meta_model(model_config(recipe)), EVER_ON
    if recipe.adapter.generated:
        with torch.device("meta"):
            attached, _ = attach(meta_model(model.config), recipe.adapter)
        on = on_at_start(adapter_groups(attached), recipe.adapter.generator)
    now = kinds(on)
    return dict(row) | {
        "kinds": now,
        "predicted": peak(now),
        "planned": peak(kinds(EVER_ON)),
        "ratio": rounded(peak(now) / row["measured"]),
    }


def foreseen_numbers(recipe: Recipe) -> AdapterNumbers:
    """What the adapter trains."""
    from mlplora_vlm.meta import meta_model
    from recipes.dry_run import model_config

    return adapter_numbers(meta_model(model_config(recipe)), recipe.adapter)


def batch_of(recipe: Recipe, path: str) -> tuple[dict[str, Any], Any]:
    """The first rows of the recipe's data as a batch, and what the vision tower is given of each."""
    from itertools import islice

    from transformers import AutoConfig

    from data_prep.collate import TrainCollator
    from data_prep.rows import strict
    from data_prep.sources import open_source
    from mlplora_vlm.load import load_processor
    from recipes.pictures import tower_input

    processor = load_processor(path, recipe.model)
    rows = list(islice(strict(open_source(recipe.data.source).rows(recipe.data.split)), recipe.train.batch_size))
    seen = tower_input(processor, AutoConfig.from_pretrained(path), (64, 64))
    return TrainCollator(processor)(rows), seen


def table(result: Mapping[str, Any]) -> str:
    """Foreseen over measured, and the resident memory beside."""
    rows = [
        [
            row["configuration"],
            f"{row['predicted'] / MIB:,.0f}",
            f"{row['measured'] / MIB:,.0f}",
            f"{row['ratio']:.3f}",
            f"{row['planned'] / MIB:,.0f}",
            f"{row['resident'] / MIB:,.0f}",
        ]
        for row in result["rows"]
    ]
    worst = max(abs(row["ratio"] - 1) for row in result["rows"])
    heads = [
        "configuration",
        "foreseen, MiB",
        "measured, MiB",
        "foreseen / measured",
        "plan says, MiB",
        "resident, MiB",
    ]
    return f"{markdown(heads, rows, right=5)}\n\nFurthest off: {100 * worst:.1f} %."


def panels(result: Mapping[str, Any]) -> list[Bars]:
    """Foreseen beside measured, and the resident memory."""
    kinds = {"foreseen": "predicted", "measured": "measured", "resident process": "resident"}
    names = [row["configuration"] for row in result["rows"]]
    series = {kind: [row[key] / MIB for row in result["rows"]] for kind, key in kinds.items()}
    return [Bars(f"peak of live tensors, {result['settings']['preset']} model", names, series, "MiB")]


if __name__ == "__main__":
    sys.exit(main())
