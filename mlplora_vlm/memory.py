"""What a run holds on each GPU and on the host, by kind, from the architecture alone.

An estimate, made to be an upper bound for the longest rows that a recipe lets in.  Parameters, states and shards are
counted exactly; activations follow `activation_bytes`; four figures are assumptions and stand here in the open.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from mlplora_vlm.activation_bytes import Passes, TowerInput, assumed_input, logit_bytes
from mlplora_vlm.attach import AdapterSection, GeneratorSection
from mlplora_vlm.families.card import FamilyCard, card_of
from mlplora_vlm.load import ModelSection
from mlplora_vlm.optimizer_bytes import EVER_ON, LayerSize, generator_bytes, layer_sizes, plain_moment_bytes
from mlplora_vlm.weight_kinds import planned_kinds

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from mlplora_vlm.training import TrainSection

GIB = 2**30

CUDA_CONTEXT = 1 * GIB
"""Assumption: CUDA's context and the loaded kernels of torch, NCCL and bitsandbytes, a process."""
HOST_PROCESS = 1 * GIB
"""Assumption: Python with torch, transformers and DeepSpeed imported, a process."""
HOST_WORKER = GIB // 2
"""Assumption: one process that loads and prepares batches."""
ALLOCATOR_SLACK = 0.05
"""Assumption: share of everything else that the caching allocator loses to fragments."""

LEFT, LOSS, WORK, STEP = "activations", "logits", "layer at work", "generator step"
"""Kinds that do not exist all the time: see `peak`."""

BUCKET = int(5e8)
"""DeepSpeed's default `reduce_bucket_size`, in elements; on a GPU its buffer is allocated in full."""
MAX_LIVE = int(1e9)
"""DeepSpeed's default `stage3_max_live_parameters`: weights that ZeRO-3 may hold gathered at once."""


@dataclass(frozen=True)
class HardwareSection:
    """The machine a preset is made for."""

    gpus: int = 0
    """CUDA devices in all; 0: the CPU."""
    memory_gib: float = 0.0
    """Memory of one GPU (or of the host, where gpus is 0), in GiB; 0: not stated."""

    def problems(self) -> Iterator[tuple[str, str, str]]:
        """(key, what is wrong, how to mend) for every value that cannot work."""
        if self.gpus < 0:
            yield "gpus", "gpus must not be negative", "0 means the CPU"
        if self.memory_gib < 0:
            yield "memory_gib", "memory_gib must not be negative", "0 means not stated"


@dataclass(frozen=True)
class AdapterNumbers:
    """What attaching an adapter adds to a model and trains, in numbers."""

    layers: list[LayerSize]
    """The adapted layers, where a generator makes them."""
    trained: int
    """All that is trained: the adapter, and what is trained in full."""
    of_base: int
    """The base's own weights among them."""
    plain: int
    """The trained numbers that are stepped as they are, without generator."""
    frozen: int
    """Added but not trained, such as VeRA's projections."""

    @property
    def added(self) -> int:
        """Trained numbers that the base does not have."""
        return self.trained - self.of_base


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes by kind."""

    gpu: dict[str, int]
    """On each GPU while training; empty where there is none."""
    host: dict[str, int]
    """On each node's host while training, all its processes together."""
    evaluation: dict[str, int]
    """On the device that answers questions before and after training: one process, without optimizer."""

    def needed(self, hardware: HardwareSection) -> int:
        """The larger need of training and evaluation on the memory that ``hardware`` states, in bytes."""
        return max(peak(self.gpu if hardware.gpus else self.host), peak(self.evaluation))

    def fits(self, hardware: HardwareSection) -> bool:
        """Whether the stated memory suffices; True where none is stated."""
        return hardware.memory_gib == 0 or self.needed(hardware) <= hardware.memory_gib * GIB


def peak(kinds: Mapping[str, int]) -> int:
    """The most that is held at once, of what `estimate` returns.

    What always is; and the activations with the loss's logits, or with one layer at work; or the optimizer's step.
    """
    left, loss, work, step = (kinds.get(kind, 0) for kind in (LEFT, LOSS, WORK, STEP))
    return sum(kinds.values()) - left - loss - work - step + max(left + max(loss, work), step)


def estimate(
    model: PreTrainedModel,
    base: ModelSection,
    adapter: AdapterSection,
    train: TrainSection,
    hardware: HardwareSection,
    *,
    tokens: int,
    pictures: TowerInput | None = None,
    eval_batch: int = 1,
    new_tokens: int = 16,
    zero: Mapping[str, Any] | None = None,
    on: float = EVER_ON,
) -> MemoryEstimate:
    """The memory of a run of ``model`` (without adapter; the meta device will do).

    ``tokens`` is the longest row, picture tokens included; each row of a batch counts as that long, and has
    ``pictures`` for the vision tower (None: nobody counted them, and picture tokens fill the row).
    ``zero`` is DeepSpeed's ``zero_optimization`` block, for its buffer sizes; ``on`` the share of the generator's
    hidden units that have been on at some time.
    """
    card = card_of(model.config)
    seen = pictures or assumed_input(model, tokens)
    numbers = adapter_numbers(model, adapter)
    gpus, processes = hardware.gpus, train.processes
    world, size = gpus or processes, number_size(base, hardware)
    n, stage = numbers.trained, train.zero_stage
    whole_weights = weight_bytes(model, card, base, size)
    shard = 1 if stage == 0 else world  # what every process holds of the optimizer's states

    weights = whole_weights // world if stage == 3 else whole_weights
    plain = plain_moment_bytes([numbers.plain], train.optimizer, train.momentum)
    optimizer = {"fp32 masters": 4 * n // shard if stage else 0, "plain moments": plain // shard}
    per_adapter = 4 if stage == 0 else size  # stage 0 has no masters: what is trained is itself kept in fp32
    attached = numbers.added * per_adapter + numbers.of_base * (per_adapter - size) + numbers.frozen * size
    passes = Passes(model, base, train.batch_size, tokens, seen, size)
    device = {
        "base weights": weights,
        "adapter": attached // (world if stage == 3 else 1),
        "gradients": _gradient_bytes(n, stage, size, world),
        LEFT: passes.kept(adapter, train.gradient_checkpointing),
        WORK: passes.at_work(adapter, train.gradient_checkpointing),
        LOSS: 0 if train.liger_kernel else logit_bytes(model, train.batch_size * tokens),
        "engine buffers": _engine_bytes(model, n, stage, size, zero or {}, on_gpu=gpus > 0),
    }
    host: dict[str, int] = {}
    if train.offload and stage == 3:
        host["base weights"] = device.pop("base weights")
    (host if train.offload else device).update(optimizer)
    if numbers.layers:
        generator = generator_bytes(
            numbers.layers, adapter.generator, stage, world, train.optimizer, train.momentum, on
        )
        (host if train.offload or adapter.generator.device == "cpu" else device).update(generator)
    host["processes"] = HOST_PROCESS + train.workers * HOST_WORKER

    evaluation = {
        "base weights": whole_weights,
        "adapter": (numbers.added + numbers.frozen) * size,
        **Passes(model, base, eval_batch, tokens, seen, size).answering(new_tokens),
    }
    if gpus == 0:
        host = {kind: processes * number for kind, number in {**device, **host}.items()}
        evaluation["processes"] = HOST_PROCESS
        return MemoryEstimate({}, _present(host), _present(evaluation))
    host = {kind: processes * number for kind, number in host.items()}
    return MemoryEstimate(_present(_on_gpu(device)), _present(host), _present(_on_gpu(evaluation)))


def weight_bytes(model: PreTrainedModel, card: FamilyCard, base: ModelSection, size: int) -> int:
    """The base's weights on one device, tied ones once; ``size``: bytes of a number that is not quantised."""
    return sum(planned_kinds(model, card, base, size).values())


def adapter_numbers(model: PreTrainedModel, adapter: AdapterSection) -> AdapterNumbers:
    """Counted on an adapter that is really attached, to a copy of ``model`` on the meta device; once for each two."""
    known = _NUMBERS.setdefault(model, {})
    key = replace(adapter, generator=GeneratorSection(), init_from=None)  # what else is chosen changes no number
    if key not in known:
        known[key] = _adapter_numbers(model, key)
    return known[key]


_NUMBERS: WeakKeyDictionary[PreTrainedModel, dict[AdapterSection, AdapterNumbers]] = WeakKeyDictionary()


def _adapter_numbers(model: PreTrainedModel, adapter: AdapterSection) -> AdapterNumbers:
    import torch

    from mlplora_vlm.attach import attach
    from mlplora_vlm.meta import meta_model
    from mlplora_vlm.optimizer import adapter_groups

    bare = meta_model(model.config)
    own = {id(p) for p in (*bare.parameters(), *bare.buffers())}
    with torch.device("meta"):  # PEFT would draw numbers first, and drop them
        attached, _ = attach(bare, adapter)
    trained = [p for p in attached.parameters() if p.requires_grad]
    layers = layer_sizes(adapter_groups(attached, generated=adapter.generated, b_lr_ratio=adapter.b_lr_ratio))
    return AdapterNumbers(
        layers=layers,
        trained=_count(trained),
        of_base=_count(p for p in trained if id(p) in own),
        plain=_count(trained) - sum(layer.numbers for layer in layers),
        frozen=_count(
            t for t in (*attached.parameters(), *attached.buffers()) if id(t) not in own and not t.requires_grad
        ),
    )


def _count(tensors: Iterable[Tensor]) -> int:
    return sum(t.numel() for t in tensors)


def number_size(base: ModelSection, hardware: HardwareSection) -> int:
    """Bytes of a weight that is not quantised: 2 or 4.

    `auto` is bfloat16 on CUDA, and counts as float32 on the CPU, whose model is not known here.
    """
    if base.dtype == "auto":
        return 2 if hardware.gpus else 4
    return 2 if base.dtype == "bfloat16" else 4


def _gradient_bytes(n: int, stage: int, size: int, world: int) -> int:
    """The gradients of all that is trained, as DeepSpeed holds them.

    Stage 0: fp32, like the adapter.  Else this process's fp32 slice, and in the model's precision all of them
    (stage 1), none beside the engine's buffer (stage 2), or a slice (stage 3).
    """
    return {0: 4 * n, 1: size * n + 4 * n // world, 2: 4 * n // world, 3: (size + 4) * n // world}[stage]


def _engine_bytes(model: PreTrainedModel, n: int, stage: int, size: int, zero: Mapping[str, Any], on_gpu: bool) -> int:
    if stage == 0:
        return 0
    bucket = zero.get("reduce_bucket_size", BUCKET)
    bucket = BUCKET if bucket == "auto" else int(bucket)
    if not on_gpu:  # untouched pages of host memory cost nothing
        bucket = min(bucket, n)
    buffers = bucket * (4 if stage == 1 else size) * (2 if zero.get("overlap_comm") and stage < 3 else 1)
    if stage == 3:
        live = zero.get("stage3_max_live_parameters", MAX_LIVE)
        live = MAX_LIVE if live == "auto" else int(live)
        buffers += min(live, sum(p.numel() for p in model.parameters())) * size
    return buffers


def _on_gpu(kinds: dict[str, int]) -> dict[str, int]:
    """With CUDA's own need and the allocator's loss."""
    return kinds | {"CUDA context": CUDA_CONTEXT, "allocator slack": round(ALLOCATOR_SLACK * peak(kinds))}


def _present(kinds: dict[str, int]) -> dict[str, int]:
    return {kind: number for kind, number in kinds.items() if number}
