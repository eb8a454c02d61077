"""report.html: one page that says what was run, what came of it, and shows answers beside their pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL.Image import Image

from data_prep.html import page, picture_uri, render
from eval_harness import charts, facts, numbers
from eval_harness.gallery import RIGHT, Pair
from mlplora_vlm.files import write_text

TEMPLATES = Path(__file__).parent / "templates"
CHANGES = {
    "wrong-right": "wrong → right",
    "right-wrong": "right → wrong",
    "wrong-wrong": "still wrong",
    "right-right": "still right",
}
TINY_SIDE = 128  # pixels; smaller pictures are enlarged without blur


@dataclass(frozen=True, kw_only=True)
class Sample(Pair):
    """One question of the gallery, with its picture."""

    image: Image


def write_report(out: Path, result: Mapping[str, Any], gallery: Sequence[Sample]) -> Path:
    """Writes ``out/report.html`` from result.json's content and the gallery's samples; returns its path."""
    body = render(TEMPLATES, "report.html.jinja", **report_view(result, gallery))
    title = " · ".join(filter(None, [_name(result), "report"]))
    style, script = ((TEMPLATES / name).read_text("utf-8") for name in ("report.css", "report.js"))
    path = out / "report.html"
    write_text(path, page(title, body, style=style, script=script))
    return path


def report_view(result: Mapping[str, Any], gallery: Sequence[Sample]) -> dict[str, Any]:
    """Everything the template shows, as text and geometry."""
    status = facts.at(result, "verdict", "status") or "not judged"
    judged = facts.judged_category(result)
    by_heart = facts.by_heart(result)
    groups = [] if by_heart else charts.score_groups(facts.section(result, "scores"))
    return {
        "name": _name(result),
        "model": facts.at(result, "recipe", "resolved", "model", "id"),
        "times": facts.times(result),
        "command": facts.at(result, "recipe", "command"),
        "verdict": (status, *facts.VERDICTS.get(status, ("", "○"))),
        "sentence": facts.at(result, "verdict", "sentence"),
        "by_heart": by_heart,
        "tiles": _tiles(result, groups, judged),
        "groups": groups,
        "table": charts.score_table(groups),
        "judged": judged,
        "measured": facts.measured(result),
        "prompt": facts.at(result, "scores", "after", "prompt_example")
        or facts.at(result, "scores", "before", "prompt_example"),
        "curve": charts.loss_curve(facts.at(result, "training", "log") or []),
        "cards": [_card(sample) for sample in gallery],
        "changes": _filters([sample.change for sample in gallery], CHANGES),
        "categories": _filters([sample.category for sample in gallery], {}),
        "training": facts.training(result),
        "stages": facts.stages(result),
        "proof": facts.proof(result) if result.get("verify") else [],
        "dtype": facts.at(result, "verify", "dtype"),
        "hashes": facts.at(result, "verify", "hashes") or {},
        "environment": facts.environment(result),
        "versions": facts.section(result, "versions"),
        "recipe": facts.recipe_text(result),
        "percent": numbers.percent,
        "interval": numbers.interval,
        "count": numbers.count,
        "rate": numbers.rate,
    }


def _name(result: Mapping[str, Any]) -> str:
    recipe = facts.section(result, "recipe")
    return " · ".join(str(recipe[key]) for key in ("name", "preset") if recipe.get(key)) or "Fine-tuning run"


def _tiles(result: Mapping[str, Any], groups: list[charts.Group], judged: str | None) -> list[dict[str, str]]:
    """The headline numbers: (label, value, note)."""
    tiles = [_by_heart(result)] if facts.by_heart(result) else []
    for group in sorted(groups, key=lambda group: (group.name != judged, group.name != "overall"))[:2]:
        bars = {bar.kind: bar for bar in group.bars if bar.kind != "control"}
        if after := bars.get("after"):
            before = f"before {numbers.percent(bars['before'].score)}" if "before" in bars else ""
            label = "Overall score" if group.name == "overall" else f"Score, {group.name} questions"
            tiles.append({"label": label, "value": numbers.percent(after.score), "note": before})
    controls = [bar for group in groups if group.name == (judged or "overall") for bar in group.bars]
    if best := max((b for b in controls if b.kind == "control"), key=lambda bar: bar.score, default=None):
        kind = f", {judged} questions" if judged else ""
        note = f"{best.name}{kind}"
        tiles.append({"label": "Best without looking", "value": numbers.percent(best.score), "note": note})
    run = facts.section(result, "training")
    if numbers.known(run.get("steps")):
        layers = sum(n for n in facts.section(result, "adapted_layers").values() if numbers.known(n))
        notes = [f"{layers} layers adapted" if layers else "", numbers.duration(facts.at(result, "seconds", "train"))]
        note = " · ".join(part for part in notes if part and part != numbers.MISSING)
        tiles.append({"label": "Training steps", "value": numbers.count(run["steps"]), "note": note})
    return tiles


def _by_heart(result: Mapping[str, Any]) -> dict[str, str]:
    before, after = (facts.at(result, "scores", when, "scores", "overall") for when in ("before", "after"))
    note = f"before {numbers.of_all(before['score'], before['n'])}" if before else ""
    return {"label": "By heart, no score", "value": numbers.of_all(after["score"], after["n"]), "note": note}


def _filters(values: Sequence[str], names: Mapping[str, str]) -> list[tuple[str, str, int]]:
    """(key, label, how many) of each value that occurs, in the order of ``names``, then by name."""
    counts = Counter(values)
    keys = [key for key in names if key in counts] + sorted(counts.keys() - names.keys())
    return [(key, names.get(key, key), counts[key]) for key in keys]


def _card(sample: Sample) -> dict[str, Any]:
    answers = [("Before", sample.before, sample.before_score), ("After", sample.after, sample.after_score)]
    references = Counter(sample.references)
    return {
        "id": sample.id,
        "category": sample.category,
        "change": sample.change,
        "label": CHANGES[sample.change],
        "question": sample.question or "(the prompt alone)",
        "references": ", ".join(f"{text} ×{n}" if n > 1 else text for text, n in references.most_common()),
        "answers": [
            {
                "when": when,
                "text": text.strip() or "(empty)",
                "right": score >= RIGHT,
                "partial": numbers.percent(score) if 0 < score < 1 else "",
            }
            for when, text, score in answers
        ],
        "search": " ".join([sample.id, sample.question, *references, sample.before, sample.after]).lower(),
        "picture": picture_uri(sample.image),
        "tiny": max(sample.image.size) <= TINY_SIDE,
    }
