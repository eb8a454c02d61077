"""Learning rates on a real VLM: the demo's SmolLM2 LLaVA learns Easy-VQA with plain and generated adapters.

A thin caller of `python -m recipes sweep`.  Budget and grid below were fixed before any of their cells ran; what was
seen before were runs of 4 to 8 steps at 1e-3, for the time that a step takes.  Started several times at once, the
processes share the cells; started again, it goes on, and sums up what is there.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import SCRATCH, parse, write_result
from eval_harness.numbers import duration, rate
from mlplora_vlm.generator import hidden_units, new_generator
from recipes.readme import markdown
from recipes.sweep.grid import Cell, load_grid, parse_rates
from recipes.sweep.run import work
from recipes.sweep.summary import table as sweep_table
from recipes.sweep.summary import write_summary

RECIPE = Path(__file__).parents[1] / "recipes" / "llava_vqa.yaml"
FULL = {
    "preset": "demo",
    "lr": "1e-4:1e-2:3",
    "kinds": ("lora", "op-lora", "linear-lora", "lora+"),
    "last": ("lora+",),  # worked on when all else is done
    "seeds": 3,
    "overrides": (
        "data.limit=400",
        "train.eval_rows=64",
        "train.max_steps=24",
        "train.batch_size=4",
        "train.gradient_accumulation=1",
        "eval.batch_size=16",
    ),
}
QUICK = FULL | {
    "preset": "smoke",
    "lr": "1e-3:1e-2:1",
    "kinds": ("lora", "op-lora"),
    "seeds": 1,
    "overrides": ("train.eval_rows=8", "train.max_steps=2"),
}
OF_THE_SWEEP = ("commit", "versions", "device")
"""What `write_result` says of the environment anyway."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what is missing and writes the result and its plot."""
    import torch

    options = parse("vlm_learning_rate", __doc__, argv)
    torch.set_num_threads(1)
    settings: dict[str, Any] = QUICK if options.quick else FULL
    folder = SCRATCH / ("quick" if options.quick else "") / "vlm_learning_rate"
    work(sorted(cells(settings), key=lambda cell: cell.label in settings["last"]), folder)
    sum_up(settings, folder, options.out)
    return 0


def cells(settings: Mapping[str, Any]) -> list[Cell]:
    """The whole grid."""
    return load_grid(
        RECIPE, settings["preset"], settings["overrides"], settings["kinds"], parse_rates(settings["lr"]),
        settings["seeds"],
    )  # fmt: skip


def sum_up(settings: Mapping[str, Any], folder: Path, out: Path) -> None:
    """Writes the result and its plot from the cells in ``folder`` that are finished."""
    swept = write_summary(cells(settings), folder)
    measured = {key: value for key, value in swept.items() if key not in OF_THE_SWEEP}
    generator = measured["adapters"]["op-lora"]["generator"]
    write_result("vlm_learning_rate", settings, measured | {"gain": start_gain(generator)}, out)
    (out / "vlm_learning_rate.png").write_bytes((folder / "curves.png").read_bytes())


def start_gain(generator: Mapping[str, Any], layers: int = 500) -> dict[str, float]:
    """1 + Σh₀ over layers of the paper's start: how much longer Adam's first steps of the exact generator are.

    LoRA at a learning rate times that is the control of a generator that is nothing but a larger step.
    """
    gains = []
    for layer in range(layers):
        start = new_generator(f"layer {layer}", [], [], generator["hidden"], generator["z_dim"], generator["z_std"], 0)
        gains.append(1 + float(hidden_units(start).sum()))
    return {"mean": statistics.fmean(gains), "deviation": statistics.stdev(gains)}


def table(result: Mapping[str, Any]) -> str:
    """The sweep's table and sentence, and the control that needs no run of its own."""
    heads, rows = sweep_table(result["labels"])
    train, done, gain = result["recipe"]["train"], result["cells"], result["gain"]
    said = [
        f"{train['max_steps']} steps of {train['batch_size'] * train['gradient_accumulation']} questions, "
        f"{train['eval_rows']} held-out questions about other pictures, {len(result['seeds'])} seeds, which draw the "
        f"questions too; {done['finished']} of {done['all']} trainings, {duration(result['seconds'])} of processes "
        "with one thread.",
        result["sentence"],
    ]
    lora = result["labels"]["lora"]
    if "best_lr" in lora:
        said.append(
            f"A control that needs no run: LoRA with its learning rate times 1 + Σh₀ ({gain['mean']:.2f} ± "
            f"{gain['deviation']:.2f} over layers) is LoRA's curve moved {math.log10(gain['mean']):.2f} decades to the "
            f"left: its best rate would be {rate(lora['best_lr'] / gain['mean'])}, with LoRA's own loss and width."
        )
    return "\n\n".join([markdown(heads, rows, right=len(heads) - 1), *said])


if __name__ == "__main__":
    sys.exit(main())
