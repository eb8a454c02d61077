"""Leaves the generator behind: a trained adapter becomes a stock PEFT folder, checked tensor by tensor."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplora_vlm.adapter_file import ROOT, read_adapter
from mlplora_vlm.checkpoint import ADAPTER_FILE, CONFIG_FILE
from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import read_tensors, replaced_folder, write_json

if TYPE_CHECKING:
    from torch import Tensor

ADAPTER_FILES = (CONFIG_FILE, ADAPTER_FILE)


def collapse(trained: Path, out: Path, base: str) -> dict[str, Any]:
    """Writes ``out`` with exactly `ADAPTER_FILES` and returns what it holds; needs neither GPU nor base model.

    ``trained`` is the PEFT folder that training left: its tensors are what the generator made last, so there is
    nothing to compute.  ``base`` is written down as the model that the adapter belongs to, and every layer under its
    full name: PEFT shortens names to endings that are unambiguous in today's model alone.
    Raises `MendableError` for an adapter that `read_adapter` refuses (incomplete, not finite, still the identity, …),
    and where ``out`` is a folder with anything in it.
    """
    from safetensors.torch import save_file

    adapter = read_adapter(trained)
    tensors, layers = adapter.tensors, adapter.layers
    names = sorted(name.removeprefix(ROOT) for name in layers)
    told = {"base_model_name_or_path": base, "inference_mode": True, "target_modules": names}
    digest = tensors_digest(tensors)
    with replaced_folder(out) as part:
        save_file(tensors, part / ADAPTER_FILE, metadata={"format": "pt"})
        write_json(part / CONFIG_FILE, adapter.config | told)
        if tensors_digest(read_tensors(part / ADAPTER_FILE)) != digest:
            raise MendableError(
                "the written adapter is not the trained one", str(out), "check the disk, then collapse again"
            )
    trained_numbers = sum(t.numel() for name, t in tensors.items() if name not in adapter.shared)
    return {"layers": len(layers), "parameters": trained_numbers, "sha256": digest}


def tensors_digest(tensors: dict[str, Tensor]) -> str:
    """sha256 over names, shapes, precisions and bytes; independent of the file's layout."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
