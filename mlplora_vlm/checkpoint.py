"""Checkpoints: which one is whole, and the adapter that training leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from mlplora_vlm.errors import MendableError

if TYPE_CHECKING:
    from transformers import Trainer


def last_checkpoint(folder: Path, processes: int) -> Path | None:
    """The newest checkpoint that was written to its end, or None.

    The Trainer writes ``trainer_state.json`` last on its first process, and one random state a process: a run that
    was killed while it saved lacks one of them.
    """

    def step(path: Path) -> int:
        return int(path.name.removeprefix("checkpoint-"))

    for path in sorted(folder.glob("checkpoint-*"), key=step, reverse=True):
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if len(list(path.glob("rng_state*.pth"))) == processes:
            return path
    return None


def save_adapter(trainer: Trainer, folder: Path) -> None:
    """Writes the trained adapter as a PEFT folder (every process must call it: ZeRO-3 gathers), and looks at it.

    Raises `MendableError` where a tensor is empty or not finite: ZeRO-3 has saved empty adapters in several tools.
    """
    trainer.save_model(str(folder))
    if not trainer.is_world_process_zero():
        return
    from safetensors.torch import load_file

    tensors = load_file(folder / "adapter_model.safetensors")
    bad = [name for name, tensor in tensors.items() if tensor.numel() == 0 or not tensor.isfinite().all()]
    if bad or not tensors:
        raise MendableError(
            f"{len(bad)} of {len(tensors)} trained adapter tensors are empty or not finite, such as {bad[:2]}",
            str(folder),
            "lower train.learning_rate, or resume from an earlier checkpoint",
        )
