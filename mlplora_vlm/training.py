"""Trains the adapter with the Hugging Face Trainer under DeepSpeed ZeRO, the generator in the optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TrainSection:
    """How long, how fast, on which engine."""

    learning_rate: float = 2e-4
    """Peak learning rate of every trained tensor."""
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
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    """How the learning rate falls after the warm-up."""
    weight_decay: float = 0.0
    """AdamW's decoupled weight decay."""
    adam_eps: float = 1e-8
    """AdamW's epsilon."""
    max_grad_norm: float = 1.0
    """Gradients (of the adapter) are clipped to this norm; 0: never."""
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
        for key in ("batch_size", "gradient_accumulation", "processes", "save_steps", "logging_steps", "keep_checkpoints"):
            if getattr(self, key) < 1:
                yield key, f"{key} must be at least 1", "1 is the smallest value that works"
        for key in ("max_steps", "workers", "eval_steps", "weight_decay", "max_grad_norm"):
            if getattr(self, key) < 0:
                yield key, f"{key} must not be negative", "0 switches it off"
        if self.learning_rate <= 0:
            yield "learning_rate", "learning_rate must be above 0", "1e-5 to 1e-3 are usual"
        if self.max_steps == 0 and self.epochs <= 0:
            yield "epochs", "neither max_steps nor epochs is above 0", "set one of them"
        if not 0 <= self.warmup < 1:
            yield "warmup", "warmup is a share of the steps in [0, 1)", "0.03 is usual"
        if self.keep_best and not self.eval_steps:
            yield "keep_best", "keep_best needs evaluations to choose by", "set train.eval_steps"
        if self.keep_best and self.eval_steps and self.save_steps % self.eval_steps:
            yield "save_steps", "with keep_best, checkpoints must fall on evaluations", "make save_steps a multiple of eval_steps"
        if self.offload and self.zero_stage in (0, 1):
            yield "offload", f"ZeRO stage {self.zero_stage} offloads nothing", "use zero_stage 2 or 3"
