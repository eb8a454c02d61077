"""Run by torchrun: trains the tiny LLaVA once a case with the real Trainer and DeepSpeed, and saves A and B.

usage: parity_worker.py FOLDER   (reads FOLDER/cases.json, FOLDER/base; writes FOLDER/NAME-wWORLD.safetensors)
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path

import deepspeed
import parity
import torch
import torch.distributed as dist
from accelerate.state import AcceleratorState
from safetensors.torch import save_file
from transformers import AutoModelForImageTextToText, TrainerCallback, set_seed
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from mlplora_vlm import optimizer as generated
from mlplora_vlm.attach import attach
from mlplora_vlm.training import train, training_arguments


def padding(numels: list[int], local: int, stage: int) -> torch.Tensor:
    """True where this process's slice is the engine's padding: found by cutting a marked tensor as the engine does."""
    rank, world = dist.get_rank(), dist.get_world_size()

    def cut(n: int, size: int) -> torch.Tensor:
        marked = torch.cat([torch.zeros(n, dtype=torch.bool), torch.ones(size * world - n, dtype=torch.bool)])
        return marked.chunk(world)[rank]

    if stage == 3:
        return torch.cat([cut(n, -(-n // world)) for n in numels])
    return cut(sum(numels), local)


class Broken:
    """Deliberately breaks one part of the method while a case runs, so that the tests see the harness fail."""

    def __init__(self, part: str | None, stage: int) -> None:
        self.part, self.stage = part, stage

    def __enter__(self) -> None:
        self.kept = (generated.generator_gradients, generated.sum_over_processes, generated._LayerGenerator.step)
        gradients, _, step = self.kept

        def poisoned(layer, grad, stage, inner):  # in every case: engines promise nothing about padding
            if stage:
                bad = padding(layer.numels, len(grad), stage)
                if self.part == "mask":
                    layer.owned = torch.ones_like(layer.owned)
                grad = torch.where(bad, 1e3, grad)
            return step(layer, grad, stage, inner)

        def without(tensors, grad, dh):
            found = gradients(tensors, grad, dh)
            return found | {self.part: torch.zeros_like(found[self.part])}

        layer_of = generated.GeneratedAdapterOptimizer._layer

        def with_numels(self_, group, grad):
            layer = layer_of(self_, group, grad)
            layer.numels = generated._numels(group)
            return layer

        self.layer_of = layer_of
        generated.GeneratedAdapterOptimizer._layer = with_numels
        generated._LayerGenerator.step = poisoned
        if self.part in ("W1", "z"):
            generated.generator_gradients = without
        if self.part == "all-reduce":
            generated.sum_over_processes = lambda tensor, stage: tensor

    def __exit__(self, *_) -> None:
        generated.generator_gradients, generated.sum_over_processes, generated._LayerGenerator.step = self.kept
        generated.GeneratedAdapterOptimizer._layer = self.layer_of


def run(
    folder: Path, name: str, stage: int, broken: str | None = None, sgd: bool = False, stop_at: int = 0, **changes
) -> None:
    world = dist.get_world_size()
    settings = parity.settings(stage, world, **changes)
    out = folder / f"{name}-w{world}"
    arguments = training_arguments(settings, bf16=False, out=out)
    model = AutoModelForImageTextToText.from_pretrained(folder / "base", dtype=torch.float32)
    set_seed(settings.seed)
    model, counts = attach(model, parity.ADAPTER)
    assert counts == {"language": 14, "projector": 2}, counts
    partitioned = [p for p in model.parameters() if hasattr(p, "ds_id")]
    assert bool(partitioned) == (stage == 3), "zero.Init must partition at stage 3, and only there"
    if sgd:
        init = generated.GeneratedAdapterOptimizer.__init__
        patched = lambda self, params, lr, eps, **kw: init(self, params, lr, **(kw | {"inner": torch.optim.SGD}))  # noqa: E731
        generated.GeneratedAdapterOptimizer.__init__ = patched
    with Broken(broken, stage):
        callbacks = [StopAt(stop_at)] if stop_at else []
        train(model, parity.rows(), parity.collate, settings, parity.ADAPTER, arguments, callbacks=callbacks)
    if sgd:
        generated.GeneratedAdapterOptimizer.__init__ = init
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    with deepspeed.zero.GatheredParameters([p for _, p in trained], enabled=stage == 3):
        if dist.get_rank() == 0:
            save_file({n: p.detach().float().clone().contiguous() for n, p in trained}, f"{out}.safetensors")
    unset_hf_deepspeed_config()
    AcceleratorState._reset_state(reset_partial_state=True)
    del model, arguments
    gc.collect()


class StopAt(TrainerCallback):
    """Ends the training after a step as a killed run does: the schedule stays the whole run's."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step >= self.step


if __name__ == "__main__":
    torch.set_num_threads(1)
    deepspeed.init_distributed("gloo")
    root = Path(sys.argv[1])
    for case in json.loads((root / "cases.json").read_text()):
        run(root, **case)
    dist.barrier()
    dist.destroy_process_group()
