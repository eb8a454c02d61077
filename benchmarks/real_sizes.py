"""Step time of OP-LoRA over plain LoRA for LLaVA-1.5-7B, computed from what was measured on a small one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, rounded
from mlplora_vlm.files import read_json
from recipes.readme import markdown

REAL = ("lora-80gb", "qlora-24gb", "zero3-8gpu")
GPU = {"tera_flops": 312.0, "share_of_flops": 0.4, "terabytes_a_second": 2.0, "share_of_bandwidth": 0.6}
"""Assumption: an A100 with 80 GiB (NVIDIA's data sheet: 312 TFLOP/s in bfloat16, 2.0 TB/s), used to these shares."""


def real_sizes() -> list[dict[str, Any]]:
    """Step time of OP-LoRA over plain LoRA for LLaVA-1.5-7B at the presets' own batches, computed in two ways.

    From this machine's costs: a decoder layer's passes and its optimizers, as step_cost measured them (seconds a token
    of the layer, seconds a number of the adapter and unit of hidden width), times tokens, layers and numbers.  And from
    a GPU's data sheet: the passes by their FLOPs (4 a weight and token, 6 with checkpointing), the optimizer by the
    bytes that it reads and writes (24 a number of W2 and its moments, 8 its gradient; W2's columns that are ever on).
    A step is all of the micro-batches; "each micro-batch" is the same without accumulation.
    """
    from mlplora_vlm.memory import adapter_numbers
    from mlplora_vlm.meta import meta_model
    from mlplora_vlm.optimizer_bytes import EVER_ON
    from recipes.dry_run import model_config
    from recipes.recipe import load_recipe

    cost = read_json(RESULTS / "step_cost.json")
    block = next(b for b in cost["blocks"] if (b["model"], b["rank"], b["hidden"]) == ("layer", 16, 32))
    sizes, tokens = cost["settings"]["layer"], cost["settings"]["layer_tokens"]
    width, inner = sizes["hidden_size"], sizes["intermediate_size"]
    numbers = 16 * (4 * 2 * width + 3 * (width + inner))
    seconds = {m: block["methods"][m]["optimizer_seconds"]["median"] for m in ("LoRA", "exact", "exact, 8-bit states")}
    plain = block["methods"]["LoRA"]
    passes = (plain["seconds"]["median"] - seconds["LoRA"]) / tokens
    found = []
    for preset in REAL:
        recipe = load_recipe(Path(__file__).parents[1] / "recipes" / "llava_vqa.yaml", preset)
        model = meta_model(model_config(recipe))
        train, generator = recipe.train, recipe.adapter.generator
        adapter = adapter_numbers(model, replace(recipe.adapter, generated=False)).trained
        method = "exact" if generator.states == "float32" else "exact, 8-bit states"
        rows = train.batch_size * train.gradient_accumulation
        layers = model.config.get_text_config().num_hidden_layers
        weights = sum(p.numel() for p in model.parameters())
        share = train.processes if train.zero_stage else 1
        checkpointing = 1.5 if train.gradient_checkpointing else 1.0
        ratios = {}
        for name, micro in (("step", rows), ("each micro-batch", train.batch_size)):
            used = micro * recipe.data.max_length
            cpu = checkpointing * passes * used * layers
            scale = adapter / share / numbers
            here = (cpu + scale * seconds[method] * generator.hidden / 32) / (cpu + scale * seconds["LoRA"])
            flops = 4 * checkpointing * weights * used
            gpu = flops / (GPU["tera_flops"] * 1e12 * GPU["share_of_flops"])
            columns = generator.hidden * (EVER_ON if generator.states == "float32" else 1)
            each = 32 if generator.states == "float32" else 20
            moved = adapter / share * columns * each
            there = 1 + moved / (GPU["terabytes_a_second"] * 1e12 * GPU["share_of_bandwidth"]) / gpu
            ratios[name] = {"tokens": used, "here": rounded(here), "gpu": rounded(there)}
        found.append({"preset": preset, "adapter": adapter, "method": method, "ratios": ratios})
    return found


def computed(real: Sequence[Mapping[str, Any]]) -> str:
    """A row a preset, of a whole step and of each micro-batch."""
    rows = [
        [
            one["preset"],
            one["method"],
            f"{one['adapter']:,}",
            name,
            f"{r['tokens']:,}",
            f"{r['here']:.3f}",
            f"{r['gpu']:.3f}",
        ]
        for one in real
        for name, r in one["ratios"].items()
    ]
    heads = [
        "LLaVA-1.5-7B, computed",
        "generator",
        "adapter's numbers",
        "of",
        "tokens",
        "step x LoRA, this CPU's costs",
        "an A100's data sheet",
    ]
    return markdown(heads, rows, right=3)
