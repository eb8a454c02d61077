"""Run by torchrun with two processes: two optimizer steps of each family under ZeRO-2 and under ZeRO-3.

usage: family_train_worker.py OUT MODEL_TYPE…   (writes OUT/MODEL_TYPE-STAGE.json; a run that is there is not repeated)

The first process has pictures in every batch, the second none: whoever skips modules hangs the other under ZeRO-3.
"""

from __future__ import annotations

import datetime
import gc
import os
import re
import sys
import traceback
from dataclasses import replace
from pathlib import Path

import deepspeed
import torch
import torch.distributed as dist
from accelerate.state import AcceleratorState
from tiny_families import example, family
from transformers import TrainerCallback, set_seed
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from data_prep.collate import TrainCollator
from mlplora_vlm.attach import GeneratorSection, attach
from mlplora_vlm.files import write_json
from mlplora_vlm.training import TrainSection, train, training_arguments

STAGES = (2, 3)
PICTURES = [example(0, (50, 33)), example(1, (64, 20), (20, 64), answer="a red circle")]
TEXT = [example(2, answer="no"), example(3, question="is there a red shape?", answer="yes")]


class Snapshots(TrainerCallback):
    """All weights, whole, before the first step and after each."""

    def __init__(self, model) -> None:
        self.model, self.taken = model, []

    def take(self) -> None:
        parameters = dict(self.model.named_parameters())
        with deepspeed.zero.GatheredParameters(list(parameters.values())):
            self.taken.append({name: p.detach().float().clone() for name, p in parameters.items()})

    def on_step_begin(self, args, state, control, **kwargs):
        if not self.taken:
            self.take()

    def on_step_end(self, args, state, control, **kwargs):
        self.take()


def run(model_type: str, stage: int, out: Path) -> dict:
    tiny = family(model_type)
    settings = TrainSection(
        learning_rate=1e-2,
        max_steps=2,
        batch_size=2,
        schedule="constant",
        warmup=0.0,
        zero_stage=stage,
        processes=2,
        save_steps=9,
        max_grad_norm=0.0,
        gradient_checkpointing=True,
    )
    adapter = replace(tiny.adapter, generator=GeneratorSection(hidden=4, z_dim=5))
    arguments = training_arguments(settings, False, out / f"{model_type}-{stage}")
    arguments.save_strategy = "no"
    model = tiny.model()
    set_seed(0)
    tuned, _ = attach(model, adapter)
    assert any(hasattr(p, "ds_id") for p in tuned.parameters()) == (stage == 3)
    collate = TrainCollator(tiny.processor)
    batch = collate(PICTURES if dist.get_rank() == 0 else TEXT)
    snapshots = Snapshots(tuned)
    trainer = train(tuned, [0] * 8, lambda _: batch, settings, adapter, arguments, callbacks=[snapshots])
    assert model.is_activation_checkpointing, "gradient checkpointing is off"
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {"losses": losses, **changes(tiny.card, tuned, snapshots.taken)}


def changes(card, tuned, taken) -> dict:
    """By part and side of the adapter: how many tensors there are, and how many had changed after each step."""
    found = {"finite": all(t.isfinite().all().item() for t in taken[-1].values()), "elsewhere": [], "counts": {}}
    for name, parameter in tuned.named_parameters():
        before = taken[0][name]
        if not parameter.requires_grad:
            found["elsewhere"] += [name] if any(not torch.equal(after[name], before) for after in taken[1:]) else []
            continue
        # a tensor that is generated anew may round otherwise; a step of AdamW at this rate is far larger
        moved = [bool((after[name] - before).abs().max() > 1e-5 * before.abs().max()) for after in taken[1:]]
        layer = name.removeprefix("base_model.model.").split(".lora_")[0]
        part = "language" if re.fullmatch(card.language, layer) else "projector"
        side = "A" if ".lora_A." in name else "B" if ".lora_B." in name else "full"
        count = found["counts"].setdefault(f"{part} {side}", [0] * (1 + len(moved)))
        found["counts"][f"{part} {side}"] = [count[0] + 1, *(c + m for c, m in zip(count[1:], moved, strict=True))]
        if not moved[-1]:
            found.setdefault("still", []).append(name)
    return found


def main(out: Path, names: list[str]) -> None:
    torch.set_num_threads(1)
    deepspeed.init_distributed("gloo", timeout=datetime.timedelta(seconds=90))
    for model_type in names:
        for stage in STAGES:
            file = out / f"{model_type}-{stage}.json"
            if file.exists():
                continue
            try:
                result = run(model_type, stage, out)
            except BaseException:
                write_json(file, {"error": traceback.format_exc()})
                os._exit(1)  # the other process may be waiting for this one
            if dist.get_rank() == 0:
                write_json(file, result)
            unset_hf_deepspeed_config()
            AcceleratorState._reset_state(reset_partial_state=True)
            gc.collect()
            dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
