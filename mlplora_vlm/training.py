"""Trains the adapter with the Hugging Face Trainer under DeepSpeed ZeRO, the generator in the optimizer."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlplora_vlm.attach import AdapterSection
from mlplora_vlm.errors import MendableError, seed_problems
from mlplora_vlm.files import write_json

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from torch.utils.data import Dataset
    from transformers import Trainer, TrainerCallback, TrainingArguments


@dataclass(frozen=True)
class TrainSection:
    """How long, how fast, on which engine."""

    learning_rate: float = 2e-4
    """Peak learning rate of the adapter (of its generator's every tensor)."""
    full_learning_rate: float = 2e-5
    """Peak learning rate of what `adapter.full` names; 2e-5 is LLaVA's own for its projector."""
    max_steps: int = 0
    """Optimizer steps; 0: as many as `epochs` takes."""
    epochs: float = 1.0
    """Passes over the data where `max_steps` is 0."""
    batch_size: int = 16
    """Examples a process and micro-batch."""
    gradient_accumulation: int = 1
    """Micro-batches an optimizer step."""
    warmup: float = 0.03
    """Share of the steps in which the learning rate rises from 0."""
    schedule: Literal["cosine", "linear", "constant_with_warmup", "warmup_stable_decay"] = "cosine"
    """How the learning rate falls after the warm-up; warmup_stable_decay: in the last fifth of the steps alone."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """What steps the generator's tensors, or a plain adapter's."""
    weight_decay: float = 0.0
    """AdamW's decoupled weight decay (with sgd it is added to the gradient)."""
    adam_eps: float = 1e-8
    """AdamW's epsilon."""
    momentum: float = 0.9
    """SGD's momentum."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm; 0: never."""
    clip: Literal["adapter", "generator"] = "adapter"
    """Whose norm: the adapter's own gradients (the engine clips), or the generator's (ZeRO stage 0 alone)."""
    zero_stage: Literal[0, 1, 2, 3] = 2
    """DeepSpeed ZeRO stage."""
    offload: bool = False
    """ZeRO-offload: optimizer states, and with stage 3 parameters, live in host memory."""
    processes: int = 1
    """Processes a node that torchrun starts (one a GPU)."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass (non-reentrant): less memory, about a third more time."""
    liger_kernel: bool = False
    """Liger's fused kernels (GPU only; pip install liger-kernel)."""
    workers: int = 0
    """Processes that load and prepare batches, a training process."""
    logging_steps: int = 1
    """Steps between two points of the loss curve."""
    save_steps: int = 50
    """Steps between two checkpoints."""
    keep_checkpoints: int = 2
    """Older checkpoints are deleted."""
    eval_steps: int = 0
    """Steps between two evaluations of the loss on held-back training rows; 0: never."""
    eval_rows: int = 128
    """Training rows held back for that."""
    keep_best: bool = False
    """Return to the checkpoint with the lowest evaluation loss at the end."""
    report_to: tuple[Literal["tensorboard", "trackio", "wandb"], ...] = ()
    """Experiment trackers; each must be installed."""
    seed: int = 0
    """Seeds the adapter, the generator and the order of the data."""

    def problems(self) -> Iterator[tuple[str, str, str]]:
        """(key, what is wrong, how to mend) for every value that cannot work."""
        for key in (
            "batch_size",
            "gradient_accumulation",
            "processes",
            "save_steps",
            "logging_steps",
            "keep_checkpoints",
        ):
            if getattr(self, key) < 1:
                yield key, f"{key} must be at least 1", "1 is the smallest value that works"
        for key in ("max_steps", "workers", "eval_steps", "weight_decay", "max_grad_norm", "momentum"):
            if getattr(self, key) < 0:
                yield key, f"{key} must not be negative", "0 switches it off"
        for key in ("learning_rate", "full_learning_rate"):
            if getattr(self, key) <= 0:
                yield key, f"{key} must be above 0", "1e-5 to 1e-3 are usual"
        yield from seed_problems(self.seed)
        if self.max_steps == 0 and self.epochs <= 0:
            yield "epochs", "neither max_steps nor epochs is above 0", "set one of them"
        if not 0 <= self.warmup < 1:
            yield "warmup", "warmup is a share of the steps in [0, 1)", "0.03 is usual"
        if self.keep_best and not self.eval_steps:
            yield "keep_best", "keep_best needs evaluations to choose by", "set train.eval_steps"
        if self.keep_best and self.eval_steps and self.save_steps % self.eval_steps:
            yield (
                "save_steps",
                "with keep_best, checkpoints must fall on evaluations",
                "make save_steps a multiple of eval_steps",
            )
        if self.offload and self.zero_stage in (0, 1):
            yield "offload", f"ZeRO stage {self.zero_stage} offloads nothing", "use zero_stage 2 or 3"


def deepspeed_config(settings: TrainSection) -> dict[str, Any]:
    """The DeepSpeed configuration of a run; "auto" is what the Trainer fills in from its own arguments.

    ``zero_allow_untested_optimizer`` lets ZeRO shard our optimizer; without the clipping line DeepSpeed would clip at
    1.0 in silence.
    """
    # a bucket of adapter gradients; DeepSpeed's default of 5e8 numbers would hold a gigabyte for nothing
    zero: dict[str, Any] = {"stage": settings.zero_stage, "reduce_bucket_size": 50_000_000}
    if settings.zero_stage == 3:
        # the default of 1e9 would split a larger group, and its optimizer step would see one part of it
        zero |= {"stage3_gather_16bit_weights_on_model_save": True, "sub_group_size": 10**12}
    if settings.offload:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
        if settings.zero_stage == 3:
            zero["offload_param"] = {"device": "cpu", "pin_memory": True}
    return {
        "zero_optimization": zero,
        "bf16": {"enabled": "auto"},
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
    }


def training_arguments(settings: TrainSection, bf16: bool, out: Path, **engine: Any) -> TrainingArguments:
    """The Trainer's arguments.  Build them before the model: from here on ZeRO-3 partitions weights as they load.

    ``engine``: what replaces DeepSpeed, such as ``deepspeed=None`` for the Trainer alone, or ``fsdp=…`` beside it.
    """
    import torch
    from transformers import TrainingArguments

    on_cpu = not torch.cuda.is_available()
    engine = {"deepspeed": deepspeed_config(settings)} | engine
    if on_cpu and engine["deepspeed"]:
        _tell_accelerate_of_cpu_processes()
    evaluates = settings.eval_steps > 0
    return TrainingArguments(
        output_dir=str(out),
        **engine,
        bf16=bf16,
        use_cpu=on_cpu,
        accelerator_config={"use_configured_state": on_cpu and engine["deepspeed"] is not None},
        learning_rate=settings.learning_rate,
        max_steps=settings.max_steps or -1,
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation,
        warmup_steps=settings.warmup,
        lr_scheduler_type=settings.schedule,
        weight_decay=settings.weight_decay,
        adam_epsilon=settings.adam_eps,
        max_grad_norm=settings.max_grad_norm if settings.clip == "adapter" else 0.0,
        activation_checkpointing=settings.gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False} if settings.gradient_checkpointing else None,
        use_liger_kernel=settings.liger_kernel,
        dataloader_num_workers=settings.workers,
        dataloader_persistent_workers=settings.workers > 0,
        remove_unused_columns=False,
        logging_steps=settings.logging_steps,
        logging_nan_inf_filter=False,
        save_steps=settings.save_steps,
        save_total_limit=settings.keep_checkpoints,
        eval_strategy="steps" if evaluates else "no",
        eval_steps=settings.eval_steps if evaluates else None,
        load_best_model_at_end=settings.keep_best,
        metric_for_best_model="eval_loss" if evaluates else None,
        greater_is_better=False if evaluates else None,
        report_to=list(settings.report_to) or "none",
        seed=settings.seed,
        data_seed=settings.seed,
        ddp_timeout=7200,
    )


def _tell_accelerate_of_cpu_processes() -> None:
    """On a CPU, accelerate 1.15 takes DeepSpeed's processes for single ones: each would train on all of the data."""
    from accelerate import PartialState
    from accelerate.utils import DistributedType
    from deepspeed import init_distributed

    init_distributed("gloo", auto_mpi_discovery=False)
    PartialState(cpu=True).distributed_type = DistributedType.DEEPSPEED


def adapter_optimizer(model: PeftModel, settings: TrainSection, adapter: AdapterSection) -> tuple[type, dict[str, Any]]:
    """The Trainer's ``optimizer_cls_and_kwargs``; a plain adapter is a group without generator."""
    from mlplora_vlm.optimizer import GeneratedAdapterOptimizer, adapter_groups

    generator = adapter.generator
    return GeneratedAdapterOptimizer, {
        "params": adapter_groups(
            model,
            generated=adapter.generated,
            b_lr_ratio=adapter.b_lr_ratio,
            full_lr=settings.full_learning_rate,
        ),
        "lr": settings.learning_rate,
        "eps": settings.adam_eps,
        "weight_decay": settings.weight_decay,
        "optimizer": settings.optimizer,
        "momentum": settings.momentum,
        "seed": settings.seed,
        "clip": settings.max_grad_norm if settings.clip == "generator" else 0.0,
        "zero_stage": settings.zero_stage,
        **{key: getattr(generator, key) for key in GENERATOR_OPTIONS},
    }


GENERATOR_OPTIONS = ("form", "hidden", "z_dim", "z_std", "start", "states", "weights", "device")
"""Keys of `GeneratorSection` that the optimizer takes under the same name."""


def train(
    model: PeftModel,
    data: Dataset | list[Any],
    collator: Callable[..., dict[str, Tensor]],
    settings: TrainSection,
    adapter: AdapterSection,
    arguments: TrainingArguments,
    held_back: Dataset | list[Any] | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    lengths: Sequence[int] | None = None,
) -> Trainer:
    """Trains, resuming from the last whole checkpoint in ``arguments.output_dir`` where there is one.

    ``lengths``: of each row of ``data`` its tokens, where batches are to be of rows of about the same length.
    Afterwards ``output_dir/adapter`` holds the adapter, ``training.json`` the loss curve and the times.
    """
    from mlplora_vlm.checkpoint import last_checkpoint, save_adapter
    from mlplora_vlm.kept_generator import kept_generator
    from mlplora_vlm.trainer import GeneratedAdapterTrainer

    out, kept = Path(str(arguments.output_dir)), kept_generator(adapter, settings)
    clock = _step_clock()
    trainer = GeneratedAdapterTrainer(
        model=model,
        args=arguments,
        data_collator=collator,
        train_dataset=data,
        eval_dataset=held_back,
        optimizer_cls_and_kwargs=adapter_optimizer(model, settings, adapter),
        callbacks=[clock, *callbacks],
        lengths=lengths,
        generator_from=kept,
    )
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    assert trainer.accelerator.num_processes == processes, "each process would train on all of the data"
    checkpoint = last_checkpoint(out)
    if checkpoint:
        print(f"resuming from {checkpoint}", flush=True)
    elif kept:
        print(f"going on with the generator in {kept}", flush=True)
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except MendableError as error:
        _, of_a_worker, told = error.what.rpartition(f"{type(error).__name__}: ")
        raise MendableError(told) if of_a_worker else error from None  # a worker's error comes inside its traceback
    save_adapter(trainer, out / "adapter")
    if trainer.is_world_process_zero():
        write_json(out / "training.json", _summary(trainer, clock.seconds))
    return trainer


def _step_clock() -> Any:
    """A Trainer callback whose ``seconds`` are the wall-clock times of this process's optimizer steps.

    Resumed from its last checkpoint, the Trainer takes one step more than it was asked for: that one is made to
    change nothing.
    """
    from transformers import TrainerCallback

    class StepClock(TrainerCallback):
        def __init__(self) -> None:
            self.seconds: list[float] = []
            self.started = 0.0

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.started = time.perf_counter()
            if state.global_step >= state.max_steps:
                for group in kwargs["optimizer"].param_groups:
                    group["lr"] = 0.0

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.seconds.append(time.perf_counter() - self.started)

    return StepClock()


def _summary(trainer: Trainer, seconds: list[float]) -> dict[str, Any]:
    steps = min(trainer.state.global_step, trainer.state.max_steps)
    log = [dict(entry) for entry in trainer.state.log_history if entry["step"] <= steps]
    losses = [entry["loss"] for entry in log if "loss" in entry]
    tail = losses[-max(1, len(losses) // 10) :]
    return {
        "steps": steps,
        "processes": trainer.accelerator.num_processes,
        "steps_in_this_process": len(seconds),
        "step_seconds_median": statistics.median(seconds) if seconds else None,
        "final_loss": statistics.fmean(tail) if tail else None,
        "best_checkpoint": trainer.state.best_model_checkpoint and Path(trainer.state.best_model_checkpoint).name,
        "log": log,
    }
