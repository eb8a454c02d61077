"""What `selftest` checks: each a short training or product on a tiny model, against a reference in fp32 on the CPU.

A check returns its figure; it fails where that is above its bound.  The reference of a training is the paper as it
reads, with autograd through the MLPs, in one fp32 process on the CPU (`mlplora_vlm.generator.AutogradGenerator`).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplora_vlm.attach import AdapterSection, GeneratorSection
from mlplora_vlm.load import ModelSection, best_device

if TYPE_CHECKING:
    from torch import Tensor

MODEL = "demo/tiny-llava"
STEPS, ROWS, RATE, EPS = 3, 4, 1e-2, 1e-3
"""AdamW's eps is large, so that where a gradient is near zero another machine's rounding makes no step of its own."""
ADAPTER = AdapterSection(rank=3, alpha=6, generator=GeneratorSection(hidden=16, z_dim=7))
"""So wide that no layer begins with every hidden unit off: such a one keeps PEFT's start, the reference does not."""
EXACT, HALF, ROUGH = 1e-4, 0.2, 0.3
"""Bounds of the relative error of the whole update: fp32; half precision; 8-bit moments."""

Tensors = dict[str, "Tensor"]


@dataclass(frozen=True)
class Check:
    """One of them."""

    about: str
    bound: float
    figure: Callable[[], float]
    needs_gpu: str = ""
    """What of it a CPU cannot do; empty: it runs anywhere."""
    package: str = ""
    """What must be installed beside the requirements."""
    ranks: bool = False
    """Started by torchrun, with a process a GPU (two without GPU)."""
    environment: Mapping[str, str] = field(default_factory=dict)

    def missing(self) -> str:
        """Why it cannot run here; empty where it can."""
        if self.needs_gpu and best_device() != "cuda":
            return f"no CUDA device: {self.needs_gpu}"
        if self.package and find_spec(self.package) is None:
            return f"{self.package} is not installed"
        return ""


def processes() -> int:
    """How many ranks a check of an engine starts."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 2


@cache
def folder() -> str:
    """The tiny model's."""
    from data_prep.demo.models import model_path

    return model_path(MODEL)


@cache
def batch() -> Tensors:
    """Four rows of drawn shapes."""
    from itertools import islice

    from data_prep.collate import TrainCollator
    from data_prep.rows import strict
    from data_prep.sources import open_source
    from mlplora_vlm.load import load_processor

    processor = load_processor(folder(), ModelSection(id=MODEL))
    made: Tensors = TrainCollator(processor)(list(islice(strict(open_source("shapes").rows("sixteen")), ROWS)))
    return made


def base(device: str = "cpu", **choices: Any) -> Any:
    """The tiny model."""
    from mlplora_vlm.load import load_model

    return load_model(folder(), ModelSection(id=MODEL, **{"dtype": "float32", **choices}), device)


def attached(model: Any, adapter: AdapterSection = ADAPTER) -> Any:
    """With the adapter, drawn the same everywhere."""
    import torch

    from mlplora_vlm.attach import attach

    torch.manual_seed(0)
    return attach(model, adapter)[0]


def generator_options(adapter: AdapterSection) -> dict[str, Any]:
    """The optimizer's."""
    from mlplora_vlm.training import GENERATOR_OPTIONS

    return {key: getattr(adapter.generator, key) for key in GENERATOR_OPTIONS}


def trained_tensors(model: Any) -> Tensors:
    """What is trained, whole, in fp32 on the CPU."""
    from mlplora_vlm.sharding import whole

    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    with whole(named.values()):
        return {name: p.detach().float().cpu().clone() for name, p in named.items()}


def oracle(**choices: Any) -> tuple[Tensors, Tensors]:
    """(start, end): the MLPs in the graph, on the CPU in fp32; ``choices``: of the base model."""
    import torch
    from torch.func import functional_call

    from mlplora_vlm.generator import AutogradGenerator, new_generator
    from mlplora_vlm.optimizer import adapter_groups

    model = attached(base("cpu", **choices)).train()
    names, mlps = {id(p): name for name, p in model.named_parameters()}, []
    for group in adapter_groups(model):
        shapes = [p.shape for p in group["params"]]
        generator = ADAPTER.generator
        sizes = (generator.hidden, generator.z_dim, generator.z_std, 0)
        start = new_generator(group["name"], [s.numel() for s in shapes], group["heads"], *sizes)
        mlps.append(([names[id(p)] for p in group["params"]], AutogradGenerator(start, shapes)))
    optimizer = torch.optim.AdamW([p for _, m in mlps for p in m.parameters()], lr=RATE, eps=EPS, weight_decay=0.0)

    def made() -> Tensors:
        return {name: p for names, mlp in mlps for name, p in zip(names, mlp(), strict=True)}

    begun = {name: p.detach().clone() for name, p in made().items()}
    for _ in range(STEPS):
        optimizer.zero_grad()
        functional_call(model, made(), kwargs=batch()).loss.backward()
        optimizer.step()
    return begun, {name: p.detach() for name, p in made().items()}


def error_of_update(got: Tensors, start: Tensors, end: Tensors) -> float:
    """‖got − end‖ / ‖end − start‖ over everything that is trained."""
    import torch

    assert got.keys() == end.keys(), sorted(got.keys() ^ end.keys())[:4]
    flat = lambda tensors: torch.cat([tensors[name].flatten() for name in sorted(end)])  # noqa: E731
    return float((flat(got) - flat(end)).norm() / (flat(end) - flat(start)).norm())


def bare_loop(precision: str = "float32", choices: Mapping[str, Any] | None = None, **generator: Any) -> float:
    """The optimizer in a bare loop on this machine's best device, against the oracle.

    ``precision``: of the passes, by autocast (float16 with torch's GradScaler); weights and adapter are fp32.
    """
    import torch

    from mlplora_vlm.optimizer import GeneratedAdapterOptimizer, adapter_groups

    device, choices = best_device(), dict(choices or {})
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    adapter = replace(ADAPTER, generator=replace(ADAPTER.generator, **generator))
    model = attached(base(device, **choices), adapter).to(device).train()
    optimizer = GeneratedAdapterOptimizer(adapter_groups(model), lr=RATE, eps=EPS, **generator_options(adapter))
    rows = {key: value.to(device) for key, value in batch().items()}
    scaler = torch.amp.GradScaler(device, enabled=precision == "float16")
    for _ in range(STEPS):
        with torch.autocast(device, getattr(torch, precision), enabled=precision != "float32"):
            loss = model(**rows).loss
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer) if scaler.is_enabled() else None
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    return error_of_update(trained_tensors(model), *oracle(**choices))


def engine(stage: int, offload: bool = False, choices: Mapping[str, Any] | None = None, **train: Any) -> float:
    """`mlplora_vlm.training.train` under ZeRO with the ranks there are, all on the same rows, against the oracle."""
    import torch

    from mlplora_vlm.load import load_model
    from mlplora_vlm.training import TrainSection, training_arguments
    from mlplora_vlm.training import train as train_adapter

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    world, choices = int(os.environ["WORLD_SIZE"]), {"dtype": "float32", **(choices or {})}
    settings = TrainSection(**{
        "learning_rate": RATE, "adam_eps": EPS, "max_steps": STEPS, "batch_size": ROWS, "warmup": 0.0,
        "max_grad_norm": 0.0, "schedule": "constant_with_warmup", "zero_stage": stage,
        "offload": offload, "processes": world, **train,
    })  # fmt: skip
    with tempfile.TemporaryDirectory() as out:
        arguments = training_arguments(settings, choices["dtype"] == "bfloat16", Path(out))
        arguments.save_strategy = "no"
        model = attached(load_model(folder(), ModelSection(id=MODEL, **choices)))
        rows = [{"row": number} for number in range(ROWS * world * STEPS)]
        trainer = train_adapter(model, rows, lambda _: dict(batch()), settings, ADAPTER, arguments)
        got = trained_tensors(trainer.model)
    quantised = {key: value for key, value in choices.items() if key == "quantization"}
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    unset_hf_deepspeed_config()  # the oracle's model is whole
    return error_of_update(got, *oracle(**quantised))


def quantised_products(kind: str, double: bool = True) -> float:
    """Logits of the quantised model on this device against those of its dequantised weights, in fp32 on the CPU."""
    import torch

    choices = {"quantization": kind, "double_quantization": double}
    device = best_device()
    rows = {key: value for key, value in batch().items() if key != "labels"}
    with torch.no_grad():
        got = base(device, **choices).eval()(**{k: v.to(device) for k, v in rows.items()}).logits.float().cpu()
        wanted = base(device, **choices).dequantize().float().cpu().eval()(**rows).logits
    return float((got - wanted).norm() / wanted.norm())


def attention(implementation: str) -> float:
    """Logits in bfloat16 with an attention kernel against sdpa's."""
    import torch

    rows = {key: value.to("cuda") for key, value in batch().items() if key != "labels"}
    with torch.no_grad():
        got, wanted = (
            base("cuda", dtype="bfloat16", attn_implementation=chosen).eval()(**rows).logits.float()
            for chosen in (implementation, "sdpa")
        )
    return float((got - wanted).norm() / wanted.norm())


def checkpointing() -> float:
    """Gradients with non-reentrant checkpointing against those without it."""
    import torch

    device, found = best_device(), []
    for recompute in (False, True):
        model = attached(base(device)).to(device).train()
        if recompute:
            from mlplora_vlm.trainer import let_frozen_parts_be

            let_frozen_parts_be(model)
            model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
        model(**{key: value.to(device) for key, value in batch().items()}).loss.backward()
        found.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).cpu())
    assert found[0].shape == found[1].shape
    return float((found[1] - found[0]).norm() / found[0].norm())


def collective() -> float:
    """A sum over the ranks, by the backend that a training takes."""
    import torch
    import torch.distributed as dist

    cuda = torch.cuda.is_available()
    rank, device = int(os.environ["RANK"]), "cpu"
    if cuda:
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if cuda else "gloo")
    told = torch.full((1000,), float(rank + 1), device=device)
    dist.all_reduce(told)
    world = dist.get_world_size()
    wanted = world * (world + 1) / 2
    dist.destroy_process_group()
    return float((told - wanted).abs().max())


GPU_STATES = "bitsandbytes' paged moments live in CUDA's unified memory"
CHECKS: dict[str, Check] = {
    "sum over the ranks": Check("NCCL, or gloo without a GPU", 0.0, collective, ranks=True),
    "fp32": Check("the optimizer against autograd through the MLP", EXACT, bare_loop),
    "bf16 autocast": Check("passes in bfloat16", HALF, lambda: bare_loop("bfloat16")),
    "fp16 autocast": Check("passes in float16 with GradScaler", HALF, lambda: bare_loop("float16"),
                           needs_gpu="float16 training"),
    "generator on the CPU": Check("generator.device=cpu", EXACT, lambda: bare_loop(device="cpu")),
    "W2 in bfloat16": Check("stochastic rounding", ROUGH, lambda: bare_loop(weights="bfloat16")),
    "8-bit moments": Check("bitsandbytes' AdamW8bit", ROUGH, lambda: bare_loop(states="8bit")),
    "paged 8-bit moments": Check("bitsandbytes' PagedAdamW8bit", ROUGH, lambda: bare_loop(states="paged8bit"),
                                 needs_gpu=GPU_STATES),
    "NF4": Check("kernels against dequantised weights", 1e-3, lambda: quantised_products("nf4")),
    "NF4, single quantisation": Check("the same without double quantisation", 1e-3,
                                      lambda: quantised_products("nf4", double=False)),
    "FP4": Check("kernels against dequantised weights", 1e-3, lambda: quantised_products("fp4")),
    "int8": Check("LLM.int8 rounds activations too", 5e-2, lambda: quantised_products("int8")),
    "NF4 training": Check("a training on a 4-bit base", 1e-3, lambda: bare_loop(choices={"quantization": "nf4"})),
    "checkpointing": Check("non-reentrant, towers left alone", 1e-5, checkpointing),
    "flash attention": Check("against sdpa, bfloat16", 3e-2, lambda: attention("flash_attention_2"),
                             needs_gpu="flash attention", package="flash_attn"),
    "ZeRO-2": Check("the Trainer under DeepSpeed, all ranks", EXACT, lambda: engine(2), ranks=True),
    "ZeRO-3": Check("weights partitioned too", EXACT, lambda: engine(3), ranks=True),
    "ZeRO-2, NF4": Check("a 4-bit base on every rank", 1e-3, lambda: engine(2, choices={"quantization": "nf4"}),
                         ranks=True),
    "ZeRO-2, int8": Check("an 8-bit base on every rank", 1e-2, lambda: engine(2, choices={"quantization": "int8"}),
                          ranks=True),
    "ZeRO-2, bf16": Check("fp32 masters", HALF, lambda: engine(2, choices={"dtype": "bfloat16"}), ranks=True),
    "ZeRO-2, checkpointing": Check("non-reentrant", EXACT, lambda: engine(2, gradient_checkpointing=True), ranks=True),
    "ZeRO-2, offload": Check("optimizer states in host memory", EXACT, lambda: engine(2, offload=True),
                             needs_gpu="there is no GPU to offload from", ranks=True),
    "ZeRO-3, offload": Check("weights in host memory too", EXACT, lambda: engine(3, offload=True),
                             needs_gpu="there is no GPU to offload from", ranks=True),
    "Liger": Check("fused loss", 1e-2, lambda: engine(2, liger_kernel=True), needs_gpu="Liger's kernels",
                   package="liger_kernel", ranks=True),
}  # fmt: skip
"""By the name that the report gives them."""
