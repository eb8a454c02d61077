"""What a model card says of loading and serving: transformers, PEFT and vLLM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from eval_harness import facts
from recipes.markdown import block, code, escaped

if TYPE_CHECKING:
    from recipes.card import Subject

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes as --max-lora-rank (vllm/config/lora.py, MaxLoRARanks)."""
SERVED = ("lora", "rslora", "pissa")
"""Kinds that vLLM serves as adapters; it refuses DoRA and modules_to_save (vllm/lora/peft_helper.py)."""


def transformers_text(result: Mapping[str, Any], subject: Subject) -> Markup:
    """The lines that load it, in a block."""
    where = f", revision={subject.revision!r}" if subject.revision else ""
    if subject.kind == "merged":
        lines = [
            "from transformers import AutoModelForImageTextToText, AutoProcessor",
            "",
            f'model = AutoModelForImageTextToText.from_pretrained({subject.repo!r}, dtype="auto"{where})',
            f"processor = AutoProcessor.from_pretrained({subject.repo!r}{where})",
        ]
        return block("\n".join(lines), "python")
    settings = facts.at(result, "recipe", "resolved", "model") or {}
    options = [repr(subject.base) if subject.base_on_hub else "base_folder"]
    if settings.get("revision") and subject.base_on_hub:
        options.append(f"revision={settings['revision']!r}")
    options.append('dtype="auto"')
    lines = ["from peft import PeftModel", "from transformers import AutoModelForImageTextToText, AutoProcessor"]
    before: list[str] = []
    if settings.get("quantization", "none") in ("nf4", "fp4"):
        lines[-1] += ", BitsAndBytesConfig"
        before = [
            "four_bit = BitsAndBytesConfig(  # as it was trained",
            f'    load_in_4bit=True, bnb_4bit_quant_type="{settings["quantization"]}", bnb_4bit_use_double_quant=True,',
            f'    bnb_4bit_compute_dtype="{result.get("dtype")}",',
            f"    llm_int8_skip_modules={list(subject.family.unquantized)},",
            ")",
        ]
        options.append("quantization_config=four_bit")
    if not subject.base_on_hub:
        lines.insert(0, "from data_prep.demo.models import model_path  # the project's checkout makes the base")
        before.insert(0, f"base_folder = model_path({subject.base!r})")
    lines += [
        "",
        *before,
        f"base = AutoModelForImageTextToText.from_pretrained({', '.join(options)})",
        f"model = PeftModel.from_pretrained(base, {subject.repo!r}{where})",
        f"processor = AutoProcessor.from_pretrained({subject.repo!r}{where})",
    ]
    return block("\n".join(lines), "python")


def vllm_text(result: Mapping[str, Any], subject: Subject) -> Markup:
    """How vLLM serves it, or why it does not; none of it was run here."""
    known = (
        f"What is known of {escaped(subject.family.name)} in vLLM: {escaped(subject.family.vllm)}"
        if subject.family.vllm
        else ""
    )
    note = "Serving was not part of the run: try it before you rely on it."
    if subject.kind == "merged":
        where = f" --revision {subject.revision}" if subject.revision else ""
        served = block(f"vllm serve {subject.repo}{where}", "bash")
        return Markup("\n\n".join(part for part in ("With vLLM:", served, note) if part))
    adapter = facts.at(result, "recipe", "resolved", "adapter") or {}
    if why := _not_served(adapter):
        return Markup(f"vLLM does not serve {why} as an adapter: serve the merged model.")
    if not subject.base_on_hub:
        return Markup("vLLM: serve the merged model, since the base is on no hub.")
    flags = [f"--max-lora-rank {_rank(adapter)}"]
    if set(adapter.get("on") or ()) & {"projector", "vision"}:
        flags.append("--enable-tower-connector-lora")
    command = f"vllm serve {subject.base} --enable-lora {' '.join(flags)} \\\n  --lora-modules tuned={subject.repo}"
    projector = (
        f"Without {code('--enable-tower-connector-lora')} vLLM leaves the projector's part of the adapter out, "
        "without a word: the answers are then another model's."
        if len(flags) > 1
        else ""
    )
    return Markup("\n\n".join(part for part in ("With vLLM:", block(command, "bash"), projector, known, note) if part))


def prompt(after: Mapping[str, Any]) -> Markup:
    """The prompt of the first question that was asked, as it was."""
    text = after.get("prompt_example")
    return block(text) if isinstance(text, str) and text.strip() else Markup("")


def _not_served(adapter: Mapping[str, Any]) -> str:
    if adapter.get("kind") not in SERVED:
        return {"dora": "DoRA", "vera": "VeRA"}.get(str(adapter.get("kind")), "this kind")
    return "modules that were trained in full" if adapter.get("full") else ""


def _rank(adapter: Mapping[str, Any]) -> int:
    """The smallest that vLLM takes and that is enough; PiSSA is written with twice its rank."""
    parts = [adapter.get("rank")] + [
        (adapter.get(part) or {}).get("rank") for part in ("language", "projector", "vision")
    ]
    rank = max(int(one) for one in parts if one) * (2 if adapter.get("kind") == "pissa" else 1)
    return next((size for size in RANKS if size >= rank), rank)
