"""Run in a process that cannot import the project: each family's adapter/ and merged/ with stock libraries alone.

usage: family_stock_process.py ROOT RESULT.json   (ROOT/MODEL_TYPE holds base/, adapter/, merged/, batch.safetensors)
"""

from __future__ import annotations

import importlib.util
import json
import sys
import traceback
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

for room in ("mlplora_vlm", "data_prep", "eval_harness", "recipes"):
    assert importlib.util.find_spec(room) is None, f"{room} can be imported here"


def errors(folder: Path) -> dict[str, object]:
    batch = load_file(folder / "batch.safetensors")
    wanted = batch.pop("wanted")
    AutoProcessor.from_pretrained(folder / "merged")
    found: dict[str, object] = {}
    for name in ("adapter", "merged"):
        if name == "adapter":
            base = AutoModelForImageTextToText.from_pretrained(folder / "base", dtype=torch.float32)
            model = PeftModel.from_pretrained(base, folder / "adapter")
        else:
            model = AutoModelForImageTextToText.from_pretrained(folder / "merged", dtype=torch.float32)
            found["class"] = type(model).__name__
        with torch.inference_mode():
            logits = model.eval()(**batch).logits
        found[name] = ((logits - wanted).norm() / wanted.norm()).item()
    return found


torch.set_num_threads(1)
results = {}
for folder in sorted(Path(sys.argv[1]).iterdir()):
    if (folder / "batch.safetensors").exists():
        try:
            results[folder.name] = errors(folder)
        except Exception:
            results[folder.name] = {"error": traceback.format_exc()}
Path(sys.argv[2]).write_text(json.dumps(results))
