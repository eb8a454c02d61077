"""Leaves the generator behind: a trained adapter becomes a stock PEFT folder, checked tensor by tensor."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import read_json, replaced_folder, write_json
from mlplora_vlm.kinds import KINDS, kind_of

if TYPE_CHECKING:
    from torch import Tensor

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


def collapse(trained: Path, out: Path, base: str) -> dict[str, Any]:
    """Writes ``out`` with exactly `ADAPTER_FILES` and returns what it holds; needs neither GPU nor base model.

    ``trained`` is the PEFT folder that training left: its tensors are what the generator made last, so there is
    nothing to compute.  ``base`` is written down as the model that the adapter belongs to, and every layer under its
    full name: PEFT shortens names to endings that are unambiguous in today's model alone.
    Raises `MendableError` for an adapter that is empty, not finite, incomplete, or still the identity (LoRA's B = 0),
    and where ``out`` is a folder with anything in it.
    """
    from safetensors.torch import load_file, save_file

    tensors, config = load_file(trained / "adapter_model.safetensors"), read_json(trained / "adapter_config.json")
    layers = check_adapter(tensors, config, str(trained))
    names = sorted(name.removeprefix("base_model.model.") for name in layers)
    told = {"base_model_name_or_path": base, "inference_mode": True, "target_modules": names}
    digest = tensors_digest(tensors)
    with replaced_folder(out) as part:
        save_file(tensors, part / "adapter_model.safetensors", metadata={"format": "pt"})
        write_json(part / "adapter_config.json", config | told)
        if tensors_digest(load_file(part / "adapter_model.safetensors")) != digest:
            raise MendableError(
                "the written adapter is not the trained one", str(out), "check the disk, then collapse again"
            )
    trained_numbers = sum(t.numel() for name, t in tensors.items() if name not in _shared(config))
    return {"layers": len(layers), "parameters": trained_numbers, "sha256": digest}


def check_adapter(tensors: dict[str, Tensor], config: dict[str, Any], where: str) -> list[str]:
    """The names of the adapted layers; raises `MendableError` where the adapter cannot have been trained.

    Each layer must have all tensors of its kind, and every other tensor must belong to a module that the configuration
    says was trained in full, or be shared by all layers (VeRA's projections).
    """
    name_of_kind = kind_of(config)
    if name_of_kind is None:
        raise MendableError(
            f"{config.get('peft_type')} with these options is no kind of adapter known here",
            where,
            f"known: {', '.join(KINDS)}",
        )
    kind, full = KINDS[name_of_kind], [f"base_model.model.{path}." for path in config.get("modules_to_save") or ()]
    layers: dict[str, set[str]] = {}
    others = set(tensors)
    for name in tensors:
        for ending in kind.tensors:
            if name.endswith(f".{ending}"):
                layers.setdefault(name.removesuffix(f".{ending}"), set()).add(ending)
                others.discard(name)
    absent = {f"{layer}.{ending}" for layer, found in layers.items() for ending in set(kind.tensors) - found}
    absent |= {path for path in full if not any(name.startswith(path) for name in others)}
    odd = absent | {name for name in others if not name.startswith(tuple(full))} ^ _shared(config)
    bad = [name for name, t in tensors.items() if t.numel() == 0 or not t.isfinite().all()]
    idle = [layer for layer in layers if kind.zero and not tensors[f"{layer}.{kind.zero}"].any()] if not odd else []
    if not layers or odd:
        what = f"the adapter is not whole: {len(layers)} layers, missing or unknown {sorted(odd)[:4]}"
    elif bad:
        what = f"{len(bad)} adapter tensors are empty or not finite, such as {bad[0]}"
    elif len(idle) == len(layers):
        what = f"the adapter is still the identity: {kind.zero} is zero in every layer"
    else:
        return list(layers)
    raise MendableError(what, where, "train again, or collapse an earlier checkpoint")


def _shared(config: dict[str, Any]) -> set[str]:
    return set(KINDS[kind_of(config) or "lora"].shared)


def tensors_digest(tensors: dict[str, Tensor]) -> str:
    """sha256 over names, shapes, precisions and bytes; independent of the file's layout."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
