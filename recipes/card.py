"""The model card of a finished run: the hub's metadata and a page, all of it from result.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from eval_harness import charts, facts, numbers
from mlplora_vlm.families.card import FamilyCard
from mlplora_vlm.licence import Licence
from mlplora_vlm.publish import hub_id
from mlplora_vlm.publishable import Kind
from recipes import card_data, card_limits, card_loading
from recipes.markdown import code, escaped, link, table

TEMPLATES = Path(__file__).parent / "templates"
METHODS = {
    "lora": "LoRA (W + alpha / rank · B·A)",
    "rslora": "rsLoRA (LoRA scaled by alpha / √rank)",
    "dora": "DoRA (LoRA with a magnitude for each row)",
    "pissa": "PiSSA (LoRA that starts from the weight's largest singular vectors), written as a LoRA of twice the rank",
    "vera": "VeRA (shared random projections, trained scales)",
}
GENERATED = (
    "Its matrices were made by an MLP a layer while it trained (OP-LoRA, "
    "[arXiv:2412.10362](https://arxiv.org/abs/2412.10362)); the MLPs are left behind, and nothing of them is needed."
)
CONTROLS = {
    "blank": "a grey picture in place of each",
    "shuffled": "another question's picture",
    "prior": "the most frequent training answer to such a question",
}


@dataclass(frozen=True)
class Subject:
    """What a card is about."""

    kind: Kind
    repo: str
    """Where it goes, as it is loaded from there."""
    base: str
    """What it was tuned from: a hub id, or the name of a model that this project makes."""
    licence: Licence
    family: FamilyCard
    sibling: str | None = None
    """The repo of the other kind, where both are published."""
    revision: str | None = None
    """The branch that it goes to."""

    @property
    def base_on_hub(self) -> bool:
        """Whether the base can be loaded by its name."""
        return hub_id(self.base) and not self.base.startswith("demo/")


def model_card(result: Mapping[str, Any], subject: Subject) -> str:
    """README.md: metadata as the hub checks it, and the page; everything from outside is escaped.

    Raises `MendableError` where the metadata does not survive huggingface_hub's own reading.
    """
    metadata = card_data.metadata(result, subject)
    text = f"---\n{metadata.to_yaml()}\n---\n\n{_page(result, subject)}"
    card_data.check(text, metadata)
    return text


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        finalize=escaped,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _page(result: Mapping[str, Any], subject: Subject) -> str:
    scores, by_heart = facts.section(result, "scores"), facts.by_heart(result)
    groups = [] if by_heart else charts.score_groups(scores)
    after = facts.at(scores, "after") or {}
    recipe = facts.section(result, "recipe")
    recipe_name = "-".join(str(recipe[key]) for key in ("name", "preset") if recipe.get(key))
    values = {
        "title": subject.repo.rpartition("/")[2],
        "kind": subject.kind,
        "base_link": _base_link(subject),
        "method": facts.method(result),
        "sibling": link(subject.sibling, f"https://huggingface.co/{subject.sibling}") if subject.sibling else "",
        "recipe": code(recipe_name),
        "by_heart": by_heart,
        "n": after.get("n"),
        "scores": _scores(groups),
        "measured": _measured(after),
        "controls": _controls(after),
        "figures": _figures(after),
        "verdict": facts.at(result, "verdict", "sentence") or "",
        "load": card_loading.transformers_text(result, subject),
        "vllm": card_loading.vllm_text(result, subject),
        "prompt": card_loading.prompt(after),
        "method_text": _method_text(result),
        "made": _made(result),
        "hyperparameters": _hyperparameters(result),
        "log": numbers.decimal(loss) if numbers.known(loss := facts.at(result, "training", "final_loss")) else "",
        "data": card_data.data_table(result),
        "proof": _proof(result),
        "limitations": card_limits.limitations(result, subject),
        "licence": _licence_text(subject),
        "citations": card_data.citations(result),
    }
    text = _environment().get_template("card.md.jinja").render(values)
    return "\n".join(line.rstrip() for line in _blank_once(text.splitlines())) + "\n"


def _blank_once(lines: Sequence[str]) -> list[str]:
    """No two empty lines in a row: parts that are left out leave none."""
    return [line for n, line in enumerate(lines) if line.strip() or (n and lines[n - 1].strip())]


def _base_link(subject: Subject) -> Markup:
    if subject.base_on_hub:
        return link(subject.base, f"https://huggingface.co/{subject.base}")
    return Markup(f"{code(subject.base)} (made by the project, on no hub)")


def _scores(groups: Sequence[charts.Group]) -> Markup:
    """A row before, after and each control; a column a category."""
    if not groups:
        return Markup("")
    rows = [[row["name"], *map(_score, row["cells"])] for row in charts.score_table(groups)]
    heads = ["", *(f"{group.name}, N = {numbers.count(group.n)}" for group in groups)]
    return table(heads, rows, right=len(groups))


def _score(bar: charts.Bar | None) -> str:
    if bar is None:
        return numbers.MISSING
    bounds = numbers.interval(bar.low, bar.high)
    return f"{numbers.percent(bar.score)} ({bounds})" if bounds else numbers.percent(bar.score)


def _measured(after: Mapping[str, Any]) -> Markup:
    """The task, in a sentence."""
    version = f", version {after['version']}" if after.get("version") is not None else ""
    decoding = ", ".join(f"{key} = {value}" for key, value in (after.get("decoding") or {}).items())
    parts = [
        f"Task {code(after.get('task'))}{escaped(version)}: {escaped(after.get('metric'))} on the split "
        f"{code(after.get('split'))}",
        escaped(after.get("sample") or f"{numbers.count(after.get('n'))} questions"),
        escaped(decoding),
    ]
    return Markup("; ".join(part for part in parts if part) + ".")


def _controls(after: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{charts.CONTROLS[name]}: {CONTROLS[name]}" for name in after.get("controls") or {} if name in CONTROLS
    )


def _figures(after: Mapping[str, Any]) -> Markup:
    """Numbers that are no mean of scores."""
    rows = []
    for name, figure in (after.get("figures") or {}).items():
        show = numbers.percent if figure.get("share", True) else numbers.decimal
        low, high = figure.get("low"), figure.get("high")
        bounds = f" ({show(low)}–{show(high)})" if numbers.known(low) and numbers.known(high) else ""
        rows.append([name, f"{show(figure.get('value'))}{bounds}", numbers.count(figure.get("n"))])
    return table(["figure", "value (95 % interval)", "N"], rows, right=2) if rows else Markup("")


def _method_text(result: Mapping[str, Any]) -> Markup:
    adapter = facts.at(result, "recipe", "resolved", "adapter") or {}
    kind = adapter.get("kind", "lora")
    text = escaped(METHODS.get(kind, kind))
    return Markup(f"{text}. {GENERATED}") if adapter.get("generated") else Markup(f"{text}.")


def _made(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was adapted, for how long, on what; (name, value)."""
    layers, counts = facts.section(result, "adapted_layers"), facts.section(result, "parameters")
    seconds, peaks = facts.section(result, "seconds"), facts.section(result, "peak_memory_mib")
    in_all = sum(value for value in seconds.values() if numbers.known(value))
    largest = max((value for value in peaks.values() if numbers.known(value)), default=None)
    versions = facts.section(result, "versions")
    shown = ("torch", "transformers", "peft", "deepspeed", "bitsandbytes")
    rows = [
        ("Adapted layers", ", ".join(f"{numbers.count(n)} {part}" for part, n in layers.items())),
        (
            "Parameters",
            ", ".join(
                f"{label} {numbers.count(counts[key])}"
                for key, label in (("base", "base"), ("trained", "adapter"), ("full", "trained in full"),
                                   ("generator", "generator (left behind)"))
                if counts.get(key)
            ),
        ),
        ("Time", f"{numbers.duration(seconds.get('train'))} of training, {numbers.duration(in_all)} in all"),
        (
            "Memory",
            f"training's largest process held {numbers.memory(peaks.get('train'))} of host memory, "
            f"any stage's {numbers.memory(largest)}",
        ),
        ("Machine", str(result.get("device") or "")),
        ("Precision", str(result.get("dtype") or "")),
        ("Software", ", ".join(f"{name} {versions[name]}" for name in shown if name in versions)),
        ("Commit", str(result.get("commit") or "")),
    ]  # fmt: skip
    return [(name, value) for name, value in rows if value]


def _hyperparameters(result: Mapping[str, Any]) -> Markup:
    resolved = facts.at(result, "recipe", "resolved") or {}
    adapter, train = (facts.section(resolved, key) for key in ("adapter", "train"))
    rows: list[list[object]] = [["quantization of the base", facts.at(resolved, "model", "quantization")]]
    rows += [[f"adapter {key}", adapter.get(key)] for key in ("rank", "alpha", "dropout", "on", "full", "b_lr_ratio")]
    if adapter.get("generated"):
        rows += [[f"generator {key}", value] for key, value in facts.section(adapter, "generator").items()]
    keys = (
        *("learning_rate", "full_learning_rate" if adapter.get("full") else "", "schedule", "warmup", "optimizer"),
        *("weight_decay", "max_grad_norm", "clip", "batch_size", "gradient_accumulation", "processes", "epochs"),
        *("zero_stage", "gradient_checkpointing", "seed"),
    )
    rows += [[key, train.get(key)] for key in keys if key in train]
    rows += [["steps", facts.at(result, "training", "steps")], ["training rows", result.get("training_rows")]]
    return table(
        ["hyperparameter", "value"], [[str(key), _plain(value)] for key, value in rows if value not in (None, [], "")]
    )


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _proof(result: Mapping[str, Any]) -> Markup:
    """Collapse, merge and answers, each with what was allowed."""
    rows = [[check.name, check.what, check.value, check.bound] for check in facts.proof(result)]
    tokens = facts.at(result, "verify", "answer_tokens")
    dtype = facts.at(result, "verify", "dtype")
    text = "After writing, both were loaded from disk by stock libraries and compared with the model in training, "
    text += f"in {dtype}"
    text += f", on {numbers.count(tokens)} answer tokens." if tokens else "."
    verify = facts.section(result, "verify")
    if verify.get("base") == "dequantized":
        text += " The adapter is merged into the very 4-bit weights that it was trained on, dequantised."
    elif verify.get("faithful") is False:
        text += (
            " The adapter is merged into the original weights, which it never saw in training: the merged model's "
            f"logits are {numbers.error(verify.get('trained_error'))} from the trained model's, and the merge error "
            "below is about the adapter on the original weights."
        )
    return Markup(f"{escaped(text)}\n\n{table(['step', 'compared', 'measured', 'allowed'], rows)}")


def _licence_text(subject: Subject) -> Markup:
    licence = subject.licence
    name = escaped(licence.name or licence.id)
    named = link(licence.name or licence.id, licence.link) if licence.link else name
    return Markup(f"{named}, inherited from the base model. The data sets have their own terms: see above.")
