"""Checkpoints: which one is whole, and the adapter that training leaves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile, ZipFile

from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import open_tensors, read_json, read_tensors, readable
from mlplora_vlm.kinds import KINDS

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import Trainer

ADAPTER_FILE, CONFIG_FILE = "adapter_model.safetensors", "adapter_config.json"
"""PEFT's names."""


SCHEDULE = "scheduler.json"


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint whose files are all whole, or None; prints which newer ones are skipped and why."""
    numbered = {int(path.name.rpartition("-")[2]): path for path in folder.glob("checkpoint-*") if _is_checkpoint(path)}
    for _, path in sorted(numbered.items(), reverse=True):
        try:
            check_checkpoint(path)
        except MendableError as error:
            print(f"skipping {path}: {error.what} ({error.where})", flush=True)
        else:
            return path
    return None


def _is_checkpoint(path: Path) -> bool:
    return path.is_dir() and re.fullmatch(r"checkpoint-\d+", path.name) is not None


def check_checkpoint(path: Path) -> None:
    """Raise `MendableError` unless every file that resuming reads is there, and as long as its own header says.

    The Trainer writes ``trainer_state.json`` last on its first process, and each process its optimizer and random
    states: a run that was killed while it saved lacks one of them.
    """
    from mlplora_vlm.adapter_file import read_config
    from mlplora_vlm.states import saved_processes

    if not isinstance(read_json(path / "trainer_state.json", dict).get("global_step"), int):
        raise MendableError("trainer_state.json has no global_step", str(path / "trainer_state.json"))
    read_json(path / SCHEDULE, dict)
    read_config(path, checkpoint=True)
    open_tensors(path / ADAPTER_FILE)
    processes, random_states = saved_processes(path), sorted(path.glob("rng_state*.pth"))
    if len(random_states) != processes:
        raise MendableError(f"{len(random_states)} of {processes} random states (rng_state*.pth) are there", str(path))
    for file in random_states:
        with readable(file):
            try:
                whole = ZipFile(file).testzip() is None  # what torch.save writes
            except BadZipFile:
                whole = False
        if not whole:
            raise MendableError(f"{file.name} is damaged", str(file))


def load_adapter(model: nn.Module, folder: Path) -> None:
    """`load_tensors` from the adapter folder of a checkpoint."""
    from mlplora_vlm.adapter_file import read_adapter

    load_tensors(model, read_adapter(folder, checkpoint=True).tensors, str(folder / ADAPTER_FILE))


def load_tensors(model: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Writes an adapter file's tensors into the model's own, however an engine has cut those.

    Every process must call it.  Raises `MendableError` where they are others than those that the model trains.
    """
    import torch

    from mlplora_vlm.sharding import fill, full_shape, whole

    trained = {saved_name(name): p for name, p in model.named_parameters() if p.requires_grad}
    wrong = [n for n in trained if n in tensors and tensors[n].shape != full_shape(trained[n])]
    missing, unknown = sorted(trained.keys() - tensors.keys()), sorted(tensors.keys() - trained.keys() - FROZEN)
    if missing or unknown or wrong:
        raise MendableError(
            f"the adapter file does not fit the model: missing {missing[:3]}, unknown {unknown[:3]}, "
            f"of another shape {wrong[:3]}",
            where,
            "attach the same kind of adapter, of the same rank, to the same layers",
        )
    with torch.no_grad(), whole(trained.values()):
        for name, parameter in trained.items():
            fill(parameter, tensors[name])


def saved_name(name: str, adapter: str = "default") -> str:
    """PEFT's name in an adapter file for a trained parameter of the model."""
    name = name.replace(f".modules_to_save.{adapter}.", ".").removesuffix(f".{adapter}")
    if f".lora_magnitude_vector.{adapter}." in name:
        return name.removesuffix(f".{adapter}.weight")
    return name.replace(f".{adapter}.", ".")


FROZEN = {name for kind in KINDS.values() for name in kind.shared}
"""Tensors of an adapter file that are not trained: the model makes them again from their seed."""


def save_adapter(trainer: Trainer, folder: Path) -> None:
    """Writes the trained adapter as a PEFT folder (every process must call it: ZeRO-3 gathers), and looks at it.

    What started by changing the base weights (PiSSA) is written as a LoRA on the base as it was.
    Raises `MendableError` where a tensor is empty or not finite: ZeRO-3 has saved empty adapters in several tools.
    """
    trainer.save_model(str(folder))
    if not trainer.is_world_process_zero():
        return
    from mlplora_vlm.start import onto_original_base

    if start := getattr(trainer.model, "adapter_start", None):
        onto_original_base(folder, start)
    tensors = read_tensors(folder / ADAPTER_FILE)
    bad = [name for name, tensor in tensors.items() if tensor.numel() == 0 or not tensor.isfinite().all()]
    if bad or not tensors:
        raise MendableError(
            f"{len(bad)} of {len(tensors)} trained adapter tensors are empty or not finite, such as {bad[:2]}",
            str(folder),
            "lower train.learning_rate, or resume from an earlier checkpoint",
        )
