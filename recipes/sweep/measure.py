"""One cell: attach, train, measure on rows held out of the training data, and leave the base model as it was."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from data_prep.demo.models import model_path
from mlplora_vlm.errors import MendableError
from mlplora_vlm.training import TrainSection
from recipes.recipe import Recipe

if TYPE_CHECKING:
    from data_prep.example import Example

DIVERGED = "not finite"
"""What the optimizer's error says where a gradient is NaN or infinite."""


class Base:
    """A base model in memory, with its processor, its rows by seed, and what its frozen vision tower has seen."""

    def __init__(self, recipe: Recipe) -> None:
        from data_prep.collate import TrainCollator
        from mlplora_vlm.load import best_device, load_model, load_processor
        from mlplora_vlm.vision_cache import VisionCache

        path = model_path(recipe.model.id)
        self.model = load_model(path, recipe.model, best_device())
        self.processor = load_processor(path, recipe.model)
        self.collator = TrainCollator(self.processor, "as_written")
        self.cache = VisionCache(self.model)
        self._folder = TemporaryDirectory(prefix="sweep-")
        self._rows: dict[tuple[int, int], tuple[list[Example], list[Example]]] = {}

    def rows(self, recipe: Recipe) -> tuple[list[Example], list[Example]]:
        """(training, held-out) rows that can be used, as the recipe's own training would draw them."""
        from data_prep.prepared import load_prepared, prepare
        from data_prep.record import to_example

        seed, held_out = key = (recipe.train.seed, recipe.train.eval_rows)
        if key not in self._rows:
            folder = Path(self._folder.name) / f"{seed}-{held_out}"
            prepare(recipe.data, self.processor, folder, seed, held_out, progress=False)
            training, aside = ([to_example(row) for row in part] for part in load_prepared(recipe.data, folder, seed))
            if not aside:
                raise MendableError("no held-out row can be used", "train.eval_rows", "hold back more")
            self._rows[key] = training, aside
        return self._rows[key]


def measure(base: Base, recipe: Recipe) -> dict[str, Any]:
    """Trains the recipe's adapter on ``base`` in this process, without DeepSpeed, and measures it.

    Returns ``diverged`` (a loss or gradient was not finite), ``losses`` of every step, ``train_loss`` (mean over the
    last tenth of the steps), ``held_out`` (see `eval_harness.teacher_forced`; None where it diverged) and ``seconds``
    of training and of the whole cell.
    """
    import torch
    from transformers import set_seed

    from eval_harness.teacher_forced import teacher_forced
    from mlplora_vlm.detach import attached
    from mlplora_vlm.load import resolve_dtype
    from mlplora_vlm.training import train, training_arguments

    begun = time.perf_counter()
    settings, bf16 = single_process(recipe), resolve_dtype(recipe.model.dtype) == torch.bfloat16
    rows, held_out = base.rows(recipe)
    set_seed(settings.seed)
    with base.cache.used(), attached(base.model, recipe.adapter) as tuned, TemporaryDirectory() as folder:
        for parameter in tuned.parameters():
            if parameter.requires_grad:  # what ZeRO's fp32 masters are for: without them bfloat16 rounds every step
                parameter.data = parameter.data.float()
        arguments = training_arguments(
            settings, bf16, Path(folder), deepspeed=None, save_strategy="no", disable_tqdm=True
        )
        watch = _watch()
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # a line a step
                train(tuned, rows, base.collator, settings, recipe.adapter, arguments, callbacks=[watch])
        except MendableError as error:
            if DIVERGED not in error.what:
                raise
            watch.losses.append(math.nan)
        trained = time.perf_counter()
        scores = None
        if all(map(math.isfinite, watch.losses)):
            with torch.autocast(base.model.device.type, torch.bfloat16, enabled=bf16):
                scores = teacher_forced(tuned, base.collator, held_out, recipe.eval.batch_size)
    diverged = scores is None or not math.isfinite(scores["loss"])
    tail = watch.losses[-max(1, len(watch.losses) // 10) :]
    return {
        "diverged": diverged,
        "train_loss": None if diverged else sum(tail) / len(tail),
        "held_out": None if diverged else scores,
        "losses": [loss if math.isfinite(loss) else None for loss in watch.losses],
        "rows": len(rows),
        "seconds": {"train": trained - begun, "all": time.perf_counter() - begun},
    }


def single_process(recipe: Recipe) -> TrainSection:
    """The recipe's training in one process without ZeRO, with as many examples a step as all its processes take."""
    train = recipe.train
    processes = max(1, train.processes, recipe.hardware.gpus)
    return dataclasses.replace(
        train,
        gradient_accumulation=train.gradient_accumulation * processes,
        processes=1,
        zero_stage=0,
        offload=False,
        logging_steps=1,
        eval_steps=0,
        keep_best=False,
        report_to=(),
    )


def _watch() -> Any:
    """A Trainer callback whose ``losses`` are those of every step; it ends a training that has none any more."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        def __init__(self) -> None:
            self.losses: list[float] = []

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if logs and "loss" in logs:
                self.losses.append(float(logs["loss"]))
                control.should_training_stop |= not math.isfinite(self.losses[-1])

    return Watch()
