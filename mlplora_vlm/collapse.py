"""Leaves the generator behind: a trained adapter becomes a stock PEFT folder, checked tensor by tensor."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import read_json, write_json

if TYPE_CHECKING:
    from torch import Tensor

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


def collapse(trained: Path, out: Path, base: str) -> dict[str, Any]:
    """Writes ``out`` with exactly `ADAPTER_FILES` and returns what it holds; needs neither GPU nor base model.

    ``trained`` is the PEFT folder that training left: its A and B are what the generator made last, so there is
    nothing to compute.  ``base`` is written down as the model that the adapter belongs to, and every layer under its
    full name: PEFT shortens names to endings that are unambiguous in today's model alone.
    Raises `MendableError` for an adapter that is empty, not finite, incomplete, or still the identity (B = 0).
    """
    from safetensors.torch import load_file, save_file

    tensors = load_file(trained / "adapter_model.safetensors")
    layers = check_adapter(tensors, str(trained))
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    save_file(tensors, part / "adapter_model.safetensors", metadata={"format": "pt"})
    names = sorted(name.removeprefix("base_model.model.").removesuffix(".lora_A.weight") for name in layers)
    told = {"base_model_name_or_path": base, "inference_mode": True, "target_modules": names}
    write_json(part / "adapter_config.json", read_json(trained / "adapter_config.json") | told)
    digest = tensors_digest(tensors)
    if tensors_digest(load_file(part / "adapter_model.safetensors")) != digest:
        raise MendableError(
            "the written adapter is not the trained one", str(out), "check the disk, then collapse again"
        )
    shutil.rmtree(out, ignore_errors=True)
    part.replace(out)
    return {"layers": len(layers), "parameters": sum(t.numel() for t in tensors.values()), "sha256": digest}


def check_adapter(tensors: dict[str, Tensor], where: str) -> list[str]:
    """The names of the LoRA layers' A; raises `MendableError` where one of them cannot have been trained."""
    found = [name for name in tensors if name.endswith(".lora_A.weight")]
    pairs = {name.removesuffix(".lora_A.weight") for name in found}
    whole = {f"{name}.lora_{side}.weight" for name in pairs for side in "AB"}
    bad = [name for name, t in tensors.items() if t.numel() == 0 or not t.isfinite().all()]
    idle = [name for name in pairs if f"{name}.lora_B.weight" in tensors and not tensors[f"{name}.lora_B.weight"].any()]
    if not pairs or whole != set(tensors):
        what = f"the adapter is not whole: {len(pairs)} layers, unpaired {sorted(whole ^ set(tensors))[:4]}"
    elif bad:
        what = f"{len(bad)} adapter tensors are empty or not finite, such as {bad[0]}"
    elif len(idle) == len(pairs):
        what = "the adapter is still the identity: B is zero in every layer"
    else:
        return found
    raise MendableError(what, where, "train again, or collapse an earlier checkpoint")


def tensors_digest(tensors: dict[str, Tensor]) -> str:
    """sha256 over names, shapes, precisions and bytes; independent of the file's layout."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
