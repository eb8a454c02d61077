"""Adds an adapter into its base model's weights and writes a stock transformers folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from mlplora_vlm.adapter_folder import put_on
from mlplora_vlm.errors import MendableError
from mlplora_vlm.load import ModelSection, load_model, load_processor


def merge(path: str, settings: ModelSection, adapter: Path, out: Path) -> dict[str, Any]:
    """Writes the adapted layers as PEFT merges them, with tokenizer, processor and generation settings.

    LoRA's weight is W + (alpha / r)·B·A; a module that was trained in full takes its original's place.  A 4-bit
    base is dequantised first: merging into the original full-precision weights, which the adapter never saw, costs far
    more accuracy.  Returns the merged layers and the size in bytes.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    if (Path(path) / "adapter_config.json").exists():
        raise MendableError("the base is itself an adapter folder", path, "name the full model in model.id")
    model = load_model(path, settings)
    if settings.quantization != "none":
        model = model.dequantize()
    tuned = put_on(model, adapter)
    layers = sum(isinstance(module, BaseTunerLayer) for module in tuned.modules())
    merged = tuned.merge_and_unload(safe_merge=True)
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    merged.save_pretrained(part)
    load_processor(path, settings).save_pretrained(part)
    shutil.rmtree(out, ignore_errors=True)
    part.replace(out)
    return {"layers": layers, "bytes": sum(f.stat().st_size for f in out.rglob("*") if f.is_file())}
