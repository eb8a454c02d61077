"""Run by torchrun: trains the tiny LLaVA once a case with the real Trainer and engine, and saves what came of it.

usage: parity_worker.py FOLDER CASES.json   (reads FOLDER/base; writes FOLDER/NAME-wWORLD.safetensors, and for recorded
cases FOLDER/NAME-wWORLD-RANK.pt)
"""

from __future__ import annotations

import gc
import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path

import deepspeed
import parity
import torch
import torch.distributed as dist
from accelerate.state import AcceleratorState, DistributedType, PartialState
from safetensors.torch import save_file
from transformers import TrainerCallback, set_seed
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from mlplora_vlm import generator as maths
from mlplora_vlm.attach import attach
from mlplora_vlm.layers import GeneratedLayer
from mlplora_vlm.sharding import Share
from mlplora_vlm.training import deepspeed_config, train, training_arguments

ENGINES = {
    "trainer": {"deepspeed": None},
    "fsdp2": {
        "deepspeed": None,
        "fsdp": True,
        "fsdp_config": {
            "version": 2,
            "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "transformer_layer_cls_to_wrap": ["LlamaDecoderLayer"],
            "state_dict_type": "FULL_STATE_DICT",
        },
    },
}


def padding(numels: list[int], local: int, stage: int) -> torch.Tensor:
    """True where this process's slice is the engine's padding: found by cutting a marked tensor as the engine does."""
    rank, world = dist.get_rank(), dist.get_world_size()

    def cut(n: int, size: int) -> torch.Tensor:
        marked = torch.cat([torch.zeros(n, dtype=torch.bool), torch.ones(size * world - n, dtype=torch.bool)])
        return marked.chunk(world)[rank]

    if stage == 3:
        return torch.cat([cut(n, -(-n // world)) for n in numels])
    return cut(sum(numels), local)


def let_fsdp_run_on_cpus() -> None:
    """accelerate 1.15 leaves FSDP off where the processes are on CPUs, without a word, and runs DDP."""
    begin = PartialState.__init__

    def like_gpus(state, *given, **options):
        begin(state, *given, **options)
        if state.distributed_type == DistributedType.MULTI_CPU and os.environ.get("ACCELERATE_USE_FSDP") == "true":
            state.distributed_type = DistributedType.MULTI_GPU

    PartialState.__init__ = like_gpus


@contextmanager
def watched(case: parity.Case, numels: dict[str, list[int]], recorded: dict):
    """Poisons the engine's padding in every case, breaks what a case wants broken, and records what it wants kept."""
    kept = GeneratedLayer.gradient, maths.generator_gradients, Share.sum
    stage = int(case.engine[-1]) if case.engine in parity.ZERO else 0

    def gradient(layer, grad):
        if stage:  # engines promise nothing about padding
            bad = padding(numels[layer.name], len(grad), stage)
            if case.broken == "mask":
                layer.owned = torch.ones_like(layer.owned)
            grad = torch.where(bad, 1e3, grad)
        if case.record:
            rows = layer.share.rows
            recorded.setdefault(layer.name, {"rows": rows, "grads": [], "layer": layer})["grads"].append(
                torch.where(rows >= 0, grad, 0.0).clone()
            )
        return kept[0](layer, grad)

    def without(tensors, *given):
        found = kept[1](tensors, *given)
        return found | {case.broken: torch.zeros_like(found[case.broken])}

    GeneratedLayer.gradient = gradient
    if case.broken in ("W1", "z"):
        maths.generator_gradients = without
    if case.broken == "all-reduce":
        Share.sum = lambda share, tensor: tensor
    try:
        yield
    finally:
        GeneratedLayer.gradient, maths.generator_gradients, Share.sum = kept


def run(folder: Path, case: parity.Case) -> None:
    rank, world = dist.get_rank(), dist.get_world_size()
    settings, adapter = case.settings(world), case.adapter_section()
    out = folder / (case.folder or f"{case.name}-w{world}")
    engine = dict(ENGINES.get(case.engine, {}))
    if case.engine == "fsdp2":
        os.environ["ACCELERATE_USE_FSDP"] = "true"  # as its launcher does: `let_fsdp_run_on_cpus` looks at it
    if case.zero:
        engine["deepspeed"] = deepspeed_config(settings)
        engine["deepspeed"]["zero_optimization"] |= case.zero
    arguments = training_arguments(settings, case.precision == "bfloat16", out, **engine)
    model = parity.load_base(folder / "base", case.precision)
    set_seed(settings.seed)
    model, counts = attach(model, adapter)
    assert counts["language"] == 14, counts
    partitioned = [p for p in model.parameters() if hasattr(p, "ds_id")]
    assert bool(partitioned) == (case.engine == "zero3"), "zero.Init must partition at stage 3, and only there"
    sizes = {
        name: [getattr(p, "ds_numel", p.numel()) for n, p in module.named_parameters() if p.requires_grad]
        for name, module in model.named_modules()
    }
    recorded: dict = {}
    with watched(case, sizes, recorded):
        callbacks = [StopAt(case.stop_at)] if case.stop_at else []
        trainer = train(model, parity.rows(), parity.collate, settings, adapter, arguments, callbacks=callbacks)
    assert trainer.is_fsdp_enabled == (case.engine == "fsdp2")
    trained = [(n, p) for n, p in trainer.model.named_parameters() if p.requires_grad]
    with deepspeed.zero.GatheredParameters([p for _, p in trained], enabled=case.engine == "zero3"):
        tensors = {n: p.full_tensor() if hasattr(p, "full_tensor") else p for n, p in trained}
        if rank == 0:
            save_file(
                {n: t.detach().float().clone().contiguous() for n, t in tensors.items()},
                folder / f"{case.name}-w{world}.safetensors",
            )
    if case.record:
        seen = {n: {"rows": r["rows"], "grads": r["grads"], "P": r["layer"].generate().detach()}
                for n, r in recorded.items()}  # fmt: skip
        torch.save(seen, folder / f"{case.name}-w{world}-{rank}.pt")
    unset_hf_deepspeed_config()
    AcceleratorState._reset_state(reset_partial_state=True)
    for name in [name for name in os.environ if name.startswith(("ACCELERATE_", "FSDP_"))]:
        del os.environ[name]
    del model, arguments, trainer
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
    let_fsdp_run_on_cpus()
    root = Path(sys.argv[1])
    for values in json.loads(Path(sys.argv[2]).read_text()):
        one = parity.Case(**values)
        print("case", one.name, flush=True)
        run(root, one)
    dist.barrier()
    dist.destroy_process_group()
