"""Run by `mlplora_vlm.verify` in a process of its own, which imports stock libraries alone: no code of this project.

usage: python -I stock_check.py TASK.json RESULT.json

TASK holds ``base``, ``adapter``, ``merged`` (folders or a hub id), ``reference`` (recorded batches with the trained
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
    import torch

    batches = recorded(task["reference"])
    wanted = torch.cat([batch["answer_logits"] for batch in batches])
    tuned = logits(adapter_on_base(task, task["quantization"]), batches)
    found: dict[str, Any] = {"collapse_error": relative_error(tuned, wanted), "answer_tokens": len(wanted)}
    del tuned
    model = merged_model(task)
    found["class"] = type(model).__name__
    whole = logits(model, batches)
    del model
    found["merge_error"] = relative_error(whole, wanted)
    found["largest_logit_difference"] = (whole - wanted).abs().max().item()
    if task["original"]:
        found["original_error"] = relative_error(whole, logits(adapter_on_base(task, None), batches))
    return found


def recorded(reference: str) -> list[dict[str, Any]]:
    """The reference's batches, each with ``labels`` and the trained model's ``answer_logits``."""
    from safetensors.torch import load_file

    batches: dict[int, dict[str, Any]] = {}
    for key, tensor in load_file(reference).items():
        number, _, name = key.partition("|")
        batches.setdefault(int(number), {})[name] = tensor
    return [batches[number] for number in sorted(batches)]


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


def logits(model: Any, batches: list[dict[str, Any]]) -> Any:
    """Those that predict the recorded label tokens, fp32 on the CPU, shape (label tokens, vocabulary)."""
    import torch

    found, device = [], next(model.parameters()).device
    model.eval()
    for batch in batches:
        inputs = {key: value.to(device) for key, value in batch.items() if key not in ("labels", "answer_logits")}
        rows, columns = (batch["labels"][:, 1:] != -100).nonzero()[: len(batch["answer_logits"])].to(device).T
        with torch.inference_mode():
            found.append(model(**inputs).logits[rows, columns].float().cpu())
    return torch.cat(found)


def relative_error(got: Any, wanted: Any) -> float:
    error: float = ((got - wanted).norm() / wanted.norm()).item()
    return error


if __name__ == "__main__":
    answer = main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    strangers = [name for name in sys.modules if name.partition(".")[0] in ROOMS]
    assert not strangers, f"this process was to import nothing of the project: {strangers}"
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")
