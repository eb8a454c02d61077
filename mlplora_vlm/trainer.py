"""transformers' Trainer with checkpoints that hold the adapter, the generators and no pickled engine state.

Under every engine (none, DDP, FSDP2, DeepSpeed ZeRO) a checkpoint is the PEFT adapter, the optimizer's own safetensors
files (`mlplora_vlm.states`), the schedule, the random states and the Trainer's progress; it can be resumed with another
number of processes or ZeRO stage.  The engine's fp32 masters need no file: the generator makes them anew.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.data_loader import BatchSamplerShard
from transformers import SchedulerType, Trainer

from mlplora_vlm.checkpoint import SCHEDULE, load_adapter
from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import read_json, write_json
from mlplora_vlm.optimizer import GeneratedAdapterOptimizer
from mlplora_vlm.sampler import LengthGroupedSampler
from mlplora_vlm.states import load_states, save_states

DECAY = 0.2
"""Share of the steps over which warmup_stable_decay decays."""


def let_frozen_parts_be(model: Any) -> None:
    """Checkpointing that leaves what is before the first adapter without gradients, as training without it does.

    transformers makes the outputs of all embeddings ask for gradients, those of a frozen vision tower's patches too:
    reentrant checkpointing would else give none to anyone, while the non-reentrant one needs no such help.  The tower
    would keep its layers' inputs and run backward for nothing.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    base.enable_input_require_grads = lambda: None


def _kind(value: Any) -> Any:
    """What a saved schedule and a new one have in common: types, and the number of groups."""
    return [_kind(one) for one in value] if isinstance(value, list) else type(value)


class GeneratedAdapterTrainer(Trainer):
    """A Trainer for a PEFT model and ``optimizer_cls_and_kwargs`` with `GeneratedAdapterOptimizer`.

    ``lengths``: of each row of ``train_dataset`` its tokens, where batches are to be of rows of about the same length.
    ``generator_from``: a folder with the generator that made the adapter as it is (`mlplora_vlm.kept_generator`).
    """

    def __init__(
        self,
        *given: Any,
        lengths: Sequence[int] | None = None,
        generator_from: Path | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*given, **options)
        self.lengths, self.generator_from = lengths, generator_from
        chosen: Any = self.args.activation_checkpointing_kwargs or {}
        if self.args.activation_checkpointing and not chosen.get("use_reentrant", False):
            let_frozen_parts_be(self.model)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        if self.lengths is None:
            return super()._get_train_sampler(train_dataset)
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        return LengthGroupedSampler(self.lengths, self.get_total_train_batch_size(self.args), seed)

    def get_train_dataloader(self) -> Any:
        """This process's batches; their sampler is told of its epoch also where a resumed training skips the first.

        There accelerate 1.15 looks for it at the process's shard of batches, where it only puts samplers of its own.
        """
        loader = super().get_train_dataloader()
        if isinstance(shard := loader.batch_sampler, BatchSamplerShard):
            shard.sampler = shard.batch_sampler.sampler
        return loader

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The schedule; warmup_stable_decay decays over the last fifth of the steps."""
        if self.args.lr_scheduler_type == SchedulerType.WARMUP_STABLE_DECAY:
            self.args.lr_scheduler_kwargs = {"num_decay_steps": round(DECAY * num_training_steps)}
        return super().create_scheduler(num_training_steps, optimizer)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Under ZeRO 0-2 accelerate would first clone every weight of the base, on its device: a second model."""
        if not self.is_deepspeed_enabled or self.generated.zero_stage == 3:
            super().save_model(output_dir, _internal_call)
        elif self.args.should_save:
            model: Any = self.accelerator.unwrap_model(self.model)
            trained = {name for name, p in model.named_parameters() if p.requires_grad}  # views of ZeRO's flat buffers
            state = {name: t.clone() if name in trained else t for name, t in model.state_dict().items()}
            self._save(output_dir, state_dict=state)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The optimizer, before any engine wraps it."""
        made = super().create_optimizer(model)
        if isinstance(made, GeneratedAdapterOptimizer):
            self.generated = made
        return made

    @property
    def _layout(self) -> str:
        stage = f" {self.generated.zero_stage}" if self.is_deepspeed_enabled else ""
        return f"{self.accelerator.distributed_type.value}{stage}"

    @property
    def _sharded(self) -> bool:
        return self.is_fsdp_enabled or self.generated.zero_stage > 0

    def _prepare_for_training(self, max_steps: int, train_dataloader: Any, resume_from_checkpoint: str | None) -> Any:
        if resume_from_checkpoint:  # before an engine cuts the tensors up
            self._load_from_checkpoint(resume_from_checkpoint)
            # while B is still 0 the optimizer would take these tensors for new ones and draw them again, up to rounding
            optimizer, settings = self.optimizer_cls_and_kwargs  # type: ignore[misc]
            self.optimizer_cls_and_kwargs = optimizer, {**settings, "start": "keep"}
        prepared = super()._prepare_for_training(max_steps, train_dataloader, None)
        if resume_from_checkpoint:
            self._load_optimizer_and_scheduler(resume_from_checkpoint)
            self._load_scaler(resume_from_checkpoint)
        elif self.generator_from:
            load_states(self.generated, self.generator_from, self._layout, settings=False)
        return prepared

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save into an empty folder: a damaged checkpoint of another number of processes has files of other names."""
        if self.args.should_save:
            folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
            shutil.rmtree(folder, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        super()._save_checkpoint(model, trial)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        save_states(self.generated, Path(output_dir), self._layout, self._sharded)
        if self.args.should_save:
            assert self.lr_scheduler is not None
            write_json(Path(output_dir) / SCHEDULE, self.lr_scheduler.state_dict())

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        assert self.lr_scheduler is not None
        load_states(self.generated, Path(checkpoint), self._layout)
        file, here = Path(checkpoint) / SCHEDULE, self.lr_scheduler.state_dict()
        saved = read_json(file, dict)
        if odd := sorted(key for key in saved.keys() | here.keys() if _kind(saved.get(key)) != _kind(here.get(key))):
            raise MendableError(
                f"{SCHEDULE} is not the schedule of this training: see {', '.join(odd)}",
                str(file),
                "remove the checkpoint's folder: the same command then resumes from the one before it",
            )
        self.lr_scheduler.load_state_dict(saved)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        assert isinstance(self.model, torch.nn.Module)
        load_adapter(self.model, Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        if self.state.best_model_checkpoint:
            self._load_from_checkpoint(self.state.best_model_checkpoint)
