"""Run by `mlplora_vlm.verify` in a process of its own, which imports stock libraries alone: no code of this project.

usage: python -I stock_check.py TASK.json RESULT.json

TASK holds ``base``, ``adapter``, ``merged`` (folders or a hub id), ``reference`` (a recorded batch with the trained
model's logits), ``dtype``, ``device``, ``attention``, ``quantization`` (BitsAndBytesConfig's values, or null),
``options`` (of loading the base), ``config`` (values of the base's configuration that the recipe changed) and
``original`` (whether the adapter is to be tried on the base in full precision too).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOMS = ("mlplora_vlm", "data_prep", "eval_harness", "recipes", "benchmarks")


def main(task: dict[str, Any]) -> dict[str, Any]:
    """Relative errors of the logits, ‖got − wanted‖ / ‖wanted‖, and the class that loaded the merged folder."""
    from safetensors.torch import load_file

    batch = load_file(task["reference"])
    wanted = batch.pop("answer_logits")
    tuned = logits(adapter_on_base(task, task["quantization"]), batch)
    found: dict[str, Any] = {"collapse_error": relative_error(tuned, wanted), "answer_tokens": len(wanted)}
    del tuned
    model = merged_model(task)
    found["class"] = type(model).__name__
    whole = logits(model, batch)
    del model
    found["merge_error"] = relative_error(whole, wanted)
    found["largest_logit_difference"] = (whole - wanted).abs().max().item()
    if task["original"]:
        found["original_error"] = relative_error(whole, logits(adapter_on_base(task, None), batch))
    return found


def adapter_on_base(task: dict[str, Any], quantization: dict[str, Any] | None) -> Any:
    """The adapter folder in stock PEFT."""
    from peft import PeftModel
    from transformers import AutoConfig, BitsAndBytesConfig

    config = AutoConfig.from_pretrained(task["base"], **task["options"])
    for key, value in task["config"].items():
        setattr(config, key, value)
    options = {**task["options"], "config": config}
    if quantization:
        options |= {"quantization_config": BitsAndBytesConfig(**quantization), "device_map": {"": task["device"]}}
    base = load(task["base"], task, options, placed=bool(quantization))
    for module in base.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # it would repack the weights, and compute with other ones
    return PeftModel.from_pretrained(base, task["adapter"], autocast_adapter_dtype=False)


def merged_model(task: dict[str, Any]) -> Any:
    """The merged folder in stock transformers."""
    return load(task["merged"], task, {}, placed=False)


def load(path: str, task: dict[str, Any], options: dict[str, Any], placed: bool) -> Any:
    import torch
    from transformers import AutoModelForImageTextToText

    if task["attention"]:
        options = {**options, "attn_implementation": task["attention"]}
    dtype = getattr(torch, task["dtype"])
    model = AutoModelForImageTextToText.from_pretrained(path, dtype=dtype, use_safetensors=True, **options)
    return model if placed else model.to(task["device"])


def logits(model: Any, batch: dict[str, Any]) -> Any:
    """Those that predict each label token, fp32 on the CPU, shape (label tokens, vocabulary)."""
    import torch

    inputs = {key: value.to(next(model.parameters()).device) for key, value in batch.items() if key != "labels"}
    with torch.inference_mode():
        everywhere = model.eval()(**inputs).logits.float().cpu()
    return everywhere[:, :-1][batch["labels"][:, 1:] != -100]


def relative_error(got: Any, wanted: Any) -> float:
    error: float = ((got - wanted).norm() / wanted.norm()).item()
    return error


if __name__ == "__main__":
    answer = main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    strangers = [name for name in sys.modules if name.partition(".")[0] in ROOMS]
    assert not strangers, f"this process was to import nothing of the project: {strangers}"
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")
