"""The page of finished evaluations: one or several models and tasks, with their comparison where there is one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.html import page, render
from eval_harness import charts, numbers
from eval_harness.confusion import OTHER, confusion
from eval_harness.evaluations import Model, found, model_names, tasks_of
from eval_harness.facts import measured
from eval_harness.gallery import pick, samples_of
from eval_harness.gallery_page import MOST_SAMPLES, gallery_view
from eval_harness.report import STYLES, TEMPLATES
from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import write_text

if TYPE_CHECKING:
    from data_prep.example import Example

MOST_GROUPS = 12  # categories in the plot; the table has all


def write_evaluation_page(
    path: Path,
    folders: Sequence[Path],
    examples: Mapping[str, Iterable[Example]] | None = None,
    data: Mapping[str, str] | None = None,
    samples: int = MOST_SAMPLES,
) -> Path:
    """Writes the page of the evaluations in ``folders`` (see `evaluations.found`) to ``path``; returns it.

    ``examples`` are the rows of a task by its name, where they are at hand; those of other tasks are read again for
    their pictures, out of the folder that ``data`` or the evaluation's result names.  At most ``samples`` answers are
    shown, picked by seed where there are more.  Raises MendableError where an evaluation cannot be read.
    """
    models = [model for folder in folders for model in found(folder)]
    return write_models_page(path, models, model_names(models), None, examples, data, samples)


def write_models_page(
    path: Path,
    models: Sequence[Model],
    names: Sequence[str],
    comparison: Mapping[str, Any] | None = None,
    examples: Mapping[str, Iterable[Example]] | None = None,
    data: Mapping[str, str] | None = None,
    samples: int = MOST_SAMPLES,
) -> Path:
    """As `write_evaluation_page`, of models that were read; ``comparison`` is what `compare.compare` gave for them."""
    tasks = tasks_of(models) if comparison is None else list(comparison["tasks"])
    shown = [{task: model[task] for task in tasks if task in model} for model in models]
    view = _view(shown, names, tasks, comparison)
    every = [one for task in tasks for one in samples_of(task, [_rows(model, task) for model in shown])]
    if comparison is not None:
        every = [one for one in every if one.answers[0] and sum(map(bool, one.answers)) > 1]
    picked = pick(every, samples)
    pictures, notes = _pictures(
        shown, {task: {one.id for one in picked if one.task == task} for task in tasks}, examples, data
    )
    lead = f"All {numbers.count(len(every))} samples."
    if len(picked) < len(every):
        lead = (
            f"{numbers.count(len(picked))} of {numbers.count(len(every))} samples, picked by seed as evenly as "
            "possible over task, category and what came out, so that rare mistakes show: shares here are no scores."
        )
    view["gallery"] = gallery_view(picked, names, pictures, lead, notes)
    body = render(TEMPLATES, "evaluation.html.jinja", **view)
    style = "".join((TEMPLATES / name).read_text("utf-8") for name in (*STYLES, "evaluation.css"))
    script = (TEMPLATES / "gallery.js").read_text("utf-8")
    write_text(path, page(view["title"], body, style=style, script=script))
    return path


def _view(
    models: Sequence[Model], names: Sequence[str], tasks: Sequence[str], comparison: Mapping[str, Any] | None
) -> dict[str, Any]:
    results = {
        task: {name: model[task].result for name, model in zip(names, models, strict=True) if task in model}
        for task in tasks
    }
    title = " and ".join(names) if len(names) < 3 else f"{names[0]} and {len(names) - 1} others"
    return {
        "title": f"{title} · {'comparison' if comparison else 'evaluation'}",
        "heading": title,
        "subtitle": f"{'Compared on' if comparison else 'Evaluated on'} {', '.join(tasks)}",
        "notes": _page_notes(results, comparison),
        "tiles": _tiles(results, comparison),
        "scores": _scores(results, names),
        "differences": _differences(comparison) if comparison else None,
        "tasks": [_task(task, results, models, names, comparison) for task in tasks],
        "percent": numbers.percent,
        "points": points,
        "interval": numbers.interval,
        "figure": figure,
        "count": numbers.count,
        "p_value": p_value,
    }


def points(value: float | None) -> str:
    """A difference of shares in points of a percent: 0.0123 → ``+1.2``."""
    return f"{100 * value:+.1f}" if numbers.known(value) else numbers.MISSING


def p_value(p: float) -> str:
    """``0.031``, ``< 0.001``."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def figure(cell: Mapping[str, Any], key: str = "value") -> str:
    """A figure's value or bound: a share in percent, another number with four digits that count."""
    value = cell.get(key)
    if not numbers.known(value):
        return numbers.MISSING
    return numbers.percent(value) if cell.get("share", True) else f"{value:,.4g}"


def _page_notes(results: Mapping[str, Mapping[str, Any]], comparison: Mapping[str, Any] | None) -> list[str]:
    notes = []
    for task, by_name in results.items():
        one = next(iter(by_name.values()))
        if (sample := one.get("sample")) and sample != "all rows":
            notes.append(f"{task}: {sample}.")
        if one.get("by_heart"):
            counts = [
                f"{name} {numbers.of_all(overall['score'], overall['n'])}"
                for name, result in by_name.items()
                if (overall := result["scores"].get("overall"))
            ]
            notes.append(f"{task} asks about rows that were trained on, and is no score; right: {', '.join(counts)}.")
    for task, found_ in (comparison or {}).get("tasks", {}).items():
        for pair in found_["comparisons"]:
            if unshared := pair["only_first"] + pair["only_other"]:
                notes.append(
                    f"{task}: {numbers.count(pair['n'])} samples are shared with {pair['other']}, "
                    f"{numbers.count(unshared)} are not, and are left out of the comparison; scores and figures under "
                    "“Scores” and “in detail” are of all that each model was asked."
                )
            if not pair["same_prompt"]:
                notes.append(
                    f"{task}: {pair['other']} was sent the prompt in other words or another template; see below."
                )
    for name, left in (comparison or {}).get("left_out", {}).items():
        if left:
            notes.append(f"Not compared, since no other model was asked: {', '.join(left)} ({name}).")
    return notes


def _tiles(results: Mapping[str, Mapping[str, Any]], comparison: Mapping[str, Any] | None) -> list[dict[str, str]]:
    """The headline numbers where one task, and one or two models, leave any."""
    if len(results) > 1 or len(by_name := next(iter(results.values()), {})) > 2 or not by_name:
        return []
    if any(result.get("by_heart") for result in by_name.values()):
        return []
    tiles = []
    for name, result in by_name.items():
        if cell := result["scores"].get("overall"):
            label = name if len(by_name) > 1 else "Score"
            note = f"{numbers.interval(cell.get('low'), cell.get('high'))}, N = {numbers.count(cell.get('n'))}"
            tiles.append({"label": label, "value": numbers.percent(cell["score"]), "note": note})
    if comparison:
        (pair,) = next(iter(comparison["tasks"].values()))["comparisons"]
        cell, test = pair["scores"]["overall"], pair["mcnemar"]["overall"]
        note = f"points, {points(cell['low'])} to {points(cell['high'])}"
        tiles.append({"label": "Difference", "value": points(cell["difference"]), "note": note})
        note = f"{test['other_right']} newly right, {test['first_right']} newly wrong"
        tiles.append({"label": "McNemar’s p", "value": p_value(test["p"]), "note": note})
    elif len(by_name) == 1:
        (result,) = by_name.values()
        if numbers.known(speed := result.get("samples_per_second")):
            note = f"{numbers.duration(result.get('seconds'))} in all"
            tiles.append({"label": "Questions a second", "value": f"{speed:.1f}", "note": note})
    return tiles


def _scores(results: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    scored = {task: one for task, one in results.items() if not any(result.get("by_heart") for result in one.values())}
    groups = [group for task, one in scored.items() for group in _plotted(task, one, len(scored) > 1)]
    kinds = {bar.kind for group in groups for bar in group.bars}
    several = len(names) > 1
    legend = [("before", names[0])] if several else []
    legend += [("after", ", ".join(names[1:]) if several else names[0]), ("control", "controls")]
    metrics = sorted({str(result.get("metric")) for one in scored.values() for result in one.values()})
    return {
        "lead": f"Mean {', '.join(metrics)} in percent, with 95\u00a0% intervals."
        + (" The controls answer without the question’s own picture." if "control" in kinds else ""),
        "groups": groups,
        "table": charts.score_table(groups),
        "judged": None,
        "legend": [(kind, text) for kind, text in legend if kind in kinds],
        "bounds": "control" in kinds,
        "axis": charts.score_axis(groups),
        "measured": [
            {
                "title": " · ".join(
                    part for part in (task if len(results) > 1 else "", name if several else "") if part
                ),
                "facts": measured({"scores": {"after": result}}),
                "prompt": result.get("prompt_example"),
            }
            for task, by_name in results.items()
            for name, result in by_name.items()
        ],
    }


def _plotted(task: str, by_name: Mapping[str, Any], several_tasks: bool) -> list[charts.Group]:
    """Of one task alone every category, of several the whole of each."""
    groups = charts.model_groups(by_name, f"{task}, " if several_tasks else "")
    return groups[:1] if several_tasks or len(groups) > MOST_GROUPS else groups


def _differences(comparison: Mapping[str, Any]) -> dict[str, Any]:
    pairs = [
        (task, pair) for task, one in comparison["tasks"].items() if not one["by_heart"] for pair in one["comparisons"]
    ]
    tasks, others = {task for task, _ in pairs}, {pair["other"] for _, pair in pairs}
    several = len(pairs) > 1
    rows = []
    for task, pair in pairs:
        categories = ["overall"] if several or len(pair["scores"]) > MOST_GROUPS else list(pair["scores"])
        for category in categories:
            parts = [task] * (len(tasks) > 1) + [pair["other"]] * (len(others) > 1)
            name = ", ".join(parts) if several else category
            rows.append({"name": name, **pair["scores"][category], "mcnemar": pair["mcnemar"][category]})
    other = others.pop() if len(others) == 1 else "each other model"
    return {
        "rows": rows,
        "first": comparison["first"],
        "other": other,
        "axis": charts.difference_axis([row[key] for row in rows for key in ("low", "high")]),
        "resamples": comparison["resamples"],
        "seed": comparison["seed"],
    }


def _task(
    task: str,
    results: Mapping[str, Mapping[str, Mapping[str, Any]]],
    models: Sequence[Model],
    names: Sequence[str],
    comparison: Mapping[str, Any] | None,
) -> dict[str, Any]:
    by_name = results[task]
    heart = any(result.get("by_heart") for result in by_name.values())
    groups = [] if heart else charts.model_groups(by_name)
    if len(results) == 1 and len(groups) <= MOST_GROUPS:  # all of it stands above
        groups = []
    figures = {name: result.get("figures") or {} for name, result in by_name.items()}
    pairs = comparison["tasks"][task]["comparisons"] if comparison and not heart else []
    if len(results) == len(pairs) == 1 and len(pairs[0]["scores"]) <= MOST_GROUPS:
        pairs = []
    tables = [
        (name, table)
        for name, model in zip(names, models, strict=True)
        if task in model and (table := confusion(model[task].rows))
    ]
    return {
        "name": task,
        "names": list(by_name),
        "categories": [{"name": group.name, "n": group.n, "cells": _cells(group, by_name)} for group in groups],
        "figures": [
            {"name": key, "cells": [cells.get(key) or {} for cells in figures.values()]}
            for key in dict.fromkeys(key for cells in figures.values() for key in cells)
        ],
        "pairs": pairs,
        "confusion": [
            {
                "name": name,
                "answers": [*table.answers, OTHER],
                "rows": list(zip(table.answers, _shares(table.counts), strict=True)),
            }
            for name, table in tables
        ],
    }


def _cells(group: charts.Group, names: Iterable[str]) -> list[charts.Bar | None]:
    bars = {bar.name: bar for bar in group.bars}
    return [bars.get(name) for name in names]


def _shares(counts: Sequence[Sequence[int]]) -> list[list[tuple[int, float]]]:
    """Of each row its counts, and the share of the row that each is."""
    return [[(n, round(n / max(1, sum(row)), 3)) for n in row] for row in counts]


def _rows(model: Model, task: str) -> list[dict[str, Any]] | None:
    return model[task].rows if task in model else None


def _pictures(
    models: Sequence[Model],
    wanted: Mapping[str, set[str]],
    examples: Mapping[str, Iterable[Example]] | None,
    data: Mapping[str, str] | None,
) -> tuple[dict[tuple[str, str], Sequence[Any]], list[str]]:
    """(task, id) → pictures, and what there is to say about those that are not at hand."""
    from data_prep.section import SourceSection
    from eval_harness.tasks import task_examples

    pictures: dict[tuple[str, str], Sequence[Any]] = {}
    notes: list[str] = []
    for task, ids in wanted.items():
        asked = next(model[task].result for model in models if task in model).get("rows")
        try:
            if examples and task in examples:
                rows = [example for example in examples[task] if example.id in ids]
            elif asked:
                folder = (data or {}).get(task, asked.get("folder"))
                rows = task_examples(SourceSection(**asked | {"folder": folder}), ids)
            else:
                raise MendableError("its result does not say where its rows are")
        except MendableError as error:
            notes.append(f"There are no pictures of {task}: {error.what}.")
            continue
        pictures |= {(task, row.id): row.images for row in rows}
    return pictures, notes
