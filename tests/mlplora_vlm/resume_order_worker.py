"""Trainings of one linear layer with the real Trainer that write down which rows every process got at every step.

Run by torchrun as ``resume_order_worker.py CASES.json OUT``: runs every case in all processes, and leaves what each saw
in OUT/RANK.json.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import TrainerCallback, set_seed

from data_prep.mixture import order
from data_prep.section import SourceSection
from mlplora_vlm.attach import AdapterSection
from mlplora_vlm.trainer import GeneratedAdapterTrainer
from mlplora_vlm.training import TrainSection, train, training_arguments

SIZES = {"first": 10, "twice": 4, "part": 8}
"""Rows of the sources."""
SHARES = {"first": SourceSection("x"), "twice": SourceSection("x", epochs=2.5), "part": SourceSection("x", epochs=0.5)}
EPOCHS = 3

Steps = list[list[list[int]]]
"""Of each optimizer step its micro-batches, and of each of these the places of its rows in the pass."""


@dataclass(frozen=True)
class Case:
    """A training that is interrupted after the steps ``stops``, each time resumed from its checkpoint."""

    name: str
    grouped: bool = False
    """By length."""
    workers: int = 0
    batch_size: int = 2
    accumulation: int = 1
    stops: tuple[int, ...] = ()
    rows: int = 24
    """The first of the mixture's."""
    seed: int = 0
    stock: bool = False
    """Grouped by the Trainer's own sampler."""


def mixture() -> Dataset:
    """A pass over the mixture: ``row`` is the place in the sources, ``place`` the one in the pass."""
    rows = order(SIZES, SHARES, 0)
    found = Dataset.from_dict({"row": list(range(sum(SIZES.values())))}).select(rows)
    return found.add_column("place", list(range(len(rows)))).add_column("length", lengths(len(rows)))


def lengths(rows: int) -> list[int]:
    """Of each place in the pass, all different and in no order."""
    return [(number * 37) % 101 for number in range(rows)]


def run(case: Case, folder: Path) -> Steps:
    """What this process saw, from the first step to the last, across all interruptions."""
    seen: Steps = []
    for stop in (*case.stops, None):
        seen += _until(stop, case, folder)
    return seen


class Scorer(nn.Module):
    """One linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": nn.functional.cross_entropy(self.score(x), labels)}


def collate(rows: list[dict[str, int]]) -> dict[str, torch.Tensor]:
    place = torch.tensor([row["place"] for row in rows])
    return {"place": place, "x": place[:, None] + torch.arange(4.0), "labels": place % 2}


class Recorder(GeneratedAdapterTrainer):
    """Writes down each micro-batch before the model gets it."""

    seen: Steps

    def training_step(self, model: Any, inputs: Any, *more: Any) -> Any:
        if len(self.seen) == self.state.global_step - self._initial_global_step:
            self.seen.append([])
        self.seen[-1].append(inputs.pop("place").tolist())
        return super().training_step(model, inputs, *more)


class Stop(TrainerCallback):
    """Ends the training after a step with a checkpoint of it."""

    def __init__(self, step: int | None) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        control.should_save = control.should_training_stop = state.global_step == self.step


def _until(stop: int | None, case: Case, folder: Path) -> Steps:
    import mlplora_vlm.trainer

    settings = TrainSection(
        batch_size=case.batch_size, gradient_accumulation=case.accumulation, epochs=EPOCHS, workers=case.workers,
        save_steps=1000, logging_steps=1000, seed=case.seed,
    )  # fmt: skip
    arguments = training_arguments(settings, False, folder / case.name, deepspeed=None)
    if case.stock:
        arguments.train_sampling_strategy, arguments.length_column_name = "group_by_length", "length"
    set_seed(settings.seed)
    model = get_peft_model(Scorer(), LoraConfig(r=2, target_modules=["score"]))
    data = mixture().select(range(case.rows))
    Recorder.seen = []
    before, mlplora_vlm.trainer.GeneratedAdapterTrainer = mlplora_vlm.trainer.GeneratedAdapterTrainer, Recorder
    try:
        train(
            model, data, collate, settings, AdapterSection(), arguments, callbacks=[Stop(stop)],
            lengths=lengths(case.rows) if case.grouped else None,
        )  # fmt: skip
    finally:
        mlplora_vlm.trainer.GeneratedAdapterTrainer = before
    return Recorder.seen


def main() -> None:
    cases, out = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    torch.set_num_threads(1)
    gc.freeze()  # each training collects garbage: not the modules' again
    found = {case["name"]: run(Case(**case), out) for case in cases}
    (out / f"{os.environ['RANK']}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


def listed(cases: list[Case]) -> str:
    """As `main` reads them."""
    return json.dumps([asdict(case) for case in cases])


if __name__ == "__main__":
    main()
