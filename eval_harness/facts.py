"""What the report says beside its charts, drawn from result.json; what is missing is left out or shown as –."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import yaml

from eval_harness import numbers

VERDICTS = {"looks": ("good", "✓"), "does not look": ("bad", "✗"), "not judged": ("", "○"), "by heart": ("", "○")}


@dataclass(frozen=True)
class Check:
    """One link of the proof chain."""

    name: str
    what: str
    value: str
    bound: str
    passed: bool | None
    """None where it was not measured."""


def at(tree: object, *keys: str) -> Any:
    """``tree[key][key]…``, or None where a link is missing."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree


def section(result: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """``result[key]``, or an empty mapping where it is missing."""
    return at(result, key) or {}


def judged_category(result: Mapping[str, Any]) -> str | None:
    """The category whose score must prove that the model looks, as the recipe names it."""
    sections = (at(result, "recipe", "resolved") or {}).values()
    return next((part["judge"] for part in sections if isinstance(part, Mapping) and part.get("judge")), None)


def by_heart(result: Mapping[str, Any]) -> bool:
    """True where the task asked about the rows that were trained on: then nothing may be shown as a score."""
    return bool(at(result, "scores", "after", "by_heart"))


def method(result: Mapping[str, Any]) -> str:
    """The adapter's name: OP-LoRA is LoRA behind a generator, LoRA+ has a learning rate of its own for B."""
    adapter = at(result, "recipe", "resolved", "adapter") or {}
    kind = {"lora": "LoRA", "rslora": "rsLoRA", "dora": "DoRA", "pissa": "PiSSA", "vera": "VeRA"}.get(
        adapter.get("kind", ""), adapter.get("kind") or "adapter"
    )
    name = f"OP-{kind}" if adapter.get("generated") else kind
    if adapter.get("b_lr_ratio", 1) != 1:
        name += "+"
    if adapter.get("generated") and at(adapter, "generator", "form") == "linear":
        name += " (linear)"
    return " and ".join([name, *(f"{part} in full" for part in adapter.get("full") or ())])


def times(result: Mapping[str, Any]) -> str:
    """When the run began, and how long its stages took."""
    parts = []
    if started := result.get("started"):
        parts.append(_moment(started))
    seconds = [value for value in section(result, "seconds").values() if numbers.known(value)]
    if seconds:
        parts.append(f"{numbers.duration(sum(seconds))} in all stages")
    return " · ".join(parts)


def measured(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """How the scores were taken."""
    scores = at(result, "scores", "after") or at(result, "scores", "before") or {}
    decoding = ", ".join(f"{key} = {value}" for key, value in (scores.get("decoding") or {}).items())
    task = scores.get("task")
    rows = [
        ("Task", f"{task}, version {scores['version']}" if task and scores.get("version") is not None else task),
        ("Split", scores.get("split")),
        ("Questions", numbers.count(scores["n"]) if scores.get("n") else None),
        ("Metric", scores.get("metric")),
        ("Decoding", decoding),
        ("Batch size", scores.get("batch_size")),
        ("Speed", _per_second(scores.get("samples_per_second"))),
    ]
    return [(name, str(value)) for name, value in rows if value]


def training(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Adapted layers, parameters and steps."""
    layers, parameters, run = (section(result, key) for key in ("adapted_layers", "parameters", "training"))
    rows = [("Method", method(result))] if at(result, "recipe", "resolved", "adapter") else []
    rows += [(f"Adapted layers, {kind}", numbers.count(n)) for kind, n in layers.items()]
    names = {"base": "base model", "trained": "adapter", "full": "trained in full", "generator": "generator"}
    rows += [
        (f"Parameters, {names.get(kind, kind)}", numbers.count(n))
        for kind, n in parameters.items()
        if numbers.known(n) and (n or kind != "full")
    ]
    rows += [
        ("Steps", numbers.count(run.get("steps"))),
        ("Seconds a step (median)", numbers.duration(run.get("step_seconds_median"))),
        ("Final training loss", numbers.decimal(run.get("final_loss"))),
    ]
    return [(name, value) for name, value in rows if value != numbers.MISSING]


def stages(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Seconds and peak memory of each stage, in the order they ran, with the share of the longest and the largest."""
    seconds, peaks = section(result, "seconds"), section(result, "peak_memory_mib")

    def share(value: float | None, of: Mapping[str, Any]) -> float:
        largest = max((v for v in of.values() if numbers.known(v)), default=0)
        return 100 * value / largest if numbers.known(value) and largest else 0

    return [
        {
            "name": name,
            "seconds": numbers.duration(seconds.get(name)),
            "seconds_share": share(seconds.get(name), seconds),
            "memory": numbers.memory(peaks.get(name)),
            "memory_share": share(peaks.get(name), peaks),
        }
        for name in dict.fromkeys([*seconds, *peaks])
    ]


def proof(result: Mapping[str, Any]) -> list[Check]:
    """Collapse, merge and reload, each with what was measured and what was allowed."""
    verify = section(result, "verify")
    links = [
        ("Collapse", "generator dropped, adapter reloaded in stock PEFT: relative error of the logits", "collapse"),
        (
            "Merge",
            "adapter folded into the base, reloaded in stock transformers: relative error of the logits",
            "merge",
        ),
    ]
    checks = []
    for name, what, key in links:
        value, bound = verify.get(f"{key}_error"), verify.get(f"{key}_bound")
        passed = value <= bound if numbers.known(value) and numbers.known(bound) else None
        checks.append(Check(name, what, numbers.error(value), f"≤ {numbers.error(bound)}", passed))
    answers = verify.get("answers") or {}
    n, different, explained = answers.get("n"), answers.get("different"), answers.get("explained") or 0
    value = f"{different} of {n} differ" if numbers.known(n) and numbers.known(different) else numbers.MISSING
    bound = f"all explained ({explained})" if different else "none"
    passed = different <= explained if numbers.known(different) else None
    what = "generated answers of the merged model beside those of base and adapter; a difference counts as explained"
    what += " where the top two tokens lie closer than the logit error"
    return [*checks, Check("Answers", what, value, bound, passed)]


def environment(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Commit, device and package versions."""
    rows = [("Commit", result.get("commit")), ("Device", result.get("device"))]
    return [(name, str(value)) for name, value in rows if value]


def recipe_text(result: Mapping[str, Any]) -> str:
    """The resolved recipe as YAML."""
    resolved = at(result, "recipe", "resolved") or {}
    plain = json.loads(json.dumps(resolved, default=str))
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True) if plain else ""


def _moment(started: object) -> str:
    try:
        return f"{datetime.fromisoformat(str(started)):%Y-%m-%d %H:%M}"
    except ValueError:
        return str(started)


def _per_second(value: float | None) -> str | None:
    return f"{value:.1f} questions a second" if numbers.known(value) else None
