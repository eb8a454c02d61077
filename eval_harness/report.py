"""report.html: one page that says what was run, what came of it, and shows answers beside their pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.html import page, render
from eval_harness import charts, facts, numbers
from eval_harness.gallery import Sample
from eval_harness.gallery_page import gallery_view
from mlplora_vlm.files import write_text

if TYPE_CHECKING:
    from data_prep.example import Picture

TEMPLATES = Path(__file__).parent / "templates"
STYLES = ("parts.css", "scores.css", "gallery.css")
"""What this page and that of evaluations share."""

Pictures = Mapping[tuple[str, str], Sequence["Picture"]]
"""(task, id) → the sample's pictures."""


def write_report(
    out: Path, result: Mapping[str, Any], gallery: Sequence[Sample], pictures: Pictures, everything: str = ""
) -> Path:
    """Writes ``out/report.html`` from result.json's content and the gallery's samples; returns its path.

    ``gallery`` has each question's answers before and after training; ``everything`` is the command for all of them.
    """
    body = render(TEMPLATES, "report.html.jinja", **report_view(result, gallery, pictures, everything))
    title = " · ".join(filter(None, [_name(result), "report"]))
    style = "".join((TEMPLATES / name).read_text("utf-8") for name in (*STYLES, "report.css"))
    script = "".join((TEMPLATES / name).read_text("utf-8") for name in ("gallery.js", "curve.js"))
    path = out / "report.html"
    write_text(path, page(title, body, style=style, script=script))
    return path


def report_view(
    result: Mapping[str, Any], gallery: Sequence[Sample], pictures: Pictures, everything: str = ""
) -> dict[str, Any]:
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
        "scores": _scores(result, groups, judged) if groups else None,
        "curve": charts.loss_curve(facts.at(result, "training", "log") or []),
        "gallery": gallery_view(
            gallery,
            ("Before", "After"),
            pictures,
            f"{len(gallery)} {'trained-on' if by_heart else 'held-out'} questions, picked by seed as evenly as "
            "possible over category and change, so that rare mistakes show: their shares here are not scores.",
            ["This makes a page with all of them:"] if everything else [],
            everything,
        ),
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


def _scores(result: Mapping[str, Any], groups: list[charts.Group], judged: str | None) -> dict[str, Any]:
    """What scores.html.jinja shows."""
    by = f", and is judged by its score on the {judged} questions" if judged else ""
    measured, prompt = facts.measured(result), None
    for when in ("after", "before"):
        prompt = prompt or facts.at(result, "scores", when, "prompt_example")
    return {
        "lead": "Mean scores in percent, with 95\u00a0% intervals. The controls answer without the question’s own "
        f"picture: a model that looks lies beyond all of them{by}.",
        "groups": groups,
        "table": charts.score_table(groups),
        "judged": judged,
        "legend": [("before", "before training"), ("after", "after training"), ("control", "controls")],
        "bounds": True,
        "axis": charts.score_axis(groups),
        "measured": [{"title": "", "facts": measured, "prompt": prompt}] if measured else [],
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
