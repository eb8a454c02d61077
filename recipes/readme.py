"""Makes the tables of README.md, recipes/ and docs/ from result files and cards: ``python -m recipes.readme``."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep import public_sets
from data_prep.demo.models import LICENCES
from eval_harness import charts, facts, numbers
from mlplora_vlm.errors import MendableError
from mlplora_vlm.families.card import card_for
from mlplora_vlm.files import read_json, write_text
from mlplora_vlm.licence import Licence
from recipes.family_table import proof_table, vllm_table
from recipes.recipe import Recipe, available_presets, load_recipe, recipe_files, recipe_text
from recipes.rehearsal_table import HEADS, rows
from recipes.source_table import source_table
from recipes.task_table import task_table

ROOT = Path(__file__).parent.parent
RESULT = "docs/demo/result.json"
COMPARED = "docs/demo/compared"
REHEARSALS = "docs/rehearsal/rehearsals.json"
PARITY = "docs/parity/result.json"
NO_RESULT = "*No result yet: `python -m recipes.readme` writes this table from a run’s `result.json`.*"


def main(arguments: Sequence[str] | None = None) -> int:
    """Brings the files up to date, or with ``--check`` names the stale ones and returns 1."""
    return command("recipes.readme", __doc__, lambda check: update(ROOT, check), arguments)


def command(
    module: str, description: str | None, update: Callable[[bool], list[Path]], arguments: Sequence[str] | None
) -> int:
    """The command line of a module that makes tables; ``update(check)`` returns the files that were stale."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a file is stale")
    check = parser.parse_args(arguments).check
    try:
        stale = update(check)
    except MendableError as error:
        print(error, file=sys.stderr)
        return 2
    for path in stale:
        print(f"{path.relative_to(ROOT)}: {f'stale; mend with python -m {module}' if check else 'written'}")
    return 1 if check and stale else 0


def update(root: Path, check: bool = False) -> list[Path]:
    """The files under ``root`` whose tables were stale; they are rewritten unless ``check``."""
    tables = [
        (root / "README.md", "demo-result", result_table(root)),
        (root / "README.md", "recipe-list", recipe_list(root)),
        (root / "recipes" / "README.md", "recipes", recipe_table(root)),
        (root / "docs" / "parity.md", "parity", parity_table(root)),
        (root / "docs" / "families.md", "families", markdown(*proof_table(root))),
        (root / "docs" / "families.md", "vllm", markdown(*vllm_table())),
        (root / "docs" / "data.md", "sources", markdown(*source_table())),
        (root / "docs" / "publish.md", "card", example_card(root)),
        (root / "docs" / "downloads.md", "sets", markdown(*public_sets.licences())),
        (root / "docs" / "downloads.md", "files", markdown(*public_sets.table())),
        (root / "docs" / "tasks.md", "tasks", markdown(*task_table())),
        (root / "docs" / "rehearsal.md", "rehearsal", rehearsal(root)),
    ]
    texts = {path: path.read_text("utf-8") if path.exists() else "" for path, _, _ in tables}
    wanted = dict(texts)
    for path, mark, table in tables:
        wanted[path] = replaced(wanted[path], mark, table, path)
    stale = [path for path in texts if wanted[path] != texts[path]]
    if not check:
        for path in stale:
            write_text(path, wanted[path])
    return stale


def replaced(text: str, mark: str, table: str, path: Path) -> str:
    """``text`` with ``table`` between the two comments that ``mark`` names."""
    begin, end = f"<!-- {mark}:begin -->", f"<!-- {mark}:end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(end) < text.index(begin):
        raise MendableError(
            f"no place for the table {mark!r}", str(path), f"put {begin} and {end} on lines of their own"
        )
    head, rest = text.split(begin)
    return f"{head}{begin}\n{table}\n{end}{rest.split(end)[1]}"


def result_table(root: Path) -> str:
    """The demo's scores beside the controls, and the other methods' runs where their results are kept."""
    path = root / RESULT
    if not path.exists():
        return NO_RESULT
    result = read_json(path)
    groups = charts.score_groups(facts.section(result, "scores"))
    rows = [
        [f"**{row['name']}**" if row["name"] == "after" else row["name"], *map(_score, row["cells"])]
        for row in charts.score_table(groups)
    ]
    heads = [f"{group.name}, N = {numbers.count(group.n)}" for group in groups]
    parts = [markdown(["", *heads], rows, right=len(groups)), _sentence(result)]
    if others := compared(root):
        parts.append(comparison([result, *others]))
    return "\n\n".join(part for part in parts if part)


def compared(root: Path) -> list[dict[str, Any]]:
    """The kept results of the demo's other methods."""
    return [read_json(path) for path in sorted((root / COMPARED).glob("*.json"))]


def rehearsal(root: Path) -> str:
    """Every preset's rehearsal, and where they ran."""
    path = root / REHEARSALS
    if not path.exists():
        return NO_RESULT
    found = read_json(path)
    (device,) = {result["device"] for result in found}
    passed = sum("failed" not in result for result in found)
    minutes = sum(result.get("seconds", 0) for result in found) / 60
    return f"{markdown(HEADS, rows(found), right=6)}\n\n{passed} of {len(found)} pass; {minutes:.0f} minutes; {device}."


def example_card(root: Path) -> str:
    """The model card of the demo's run, as a block."""
    from recipes.card import Subject, model_card
    from recipes.markdown import block

    path = root / RESULT
    if not path.exists():
        return NO_RESULT
    result = read_json(path)
    base = facts.at(result, "recipe", "resolved", "model", "id")
    licence, family = Licence(LICENCES[base]), card_for("llava")
    subject = Subject("merged", "me/llava-easy-vqa", base, licence, family, "me/llava-easy-vqa-adapter")
    return str(block(model_card(result, subject), "markdown"))


def comparison(results: Sequence[Mapping[str, Any]]) -> str:
    """One row a run: what was trained, how, and what came of it."""
    judged = facts.judged_category(results[0]) or "overall"
    columns = list(dict.fromkeys([judged, "overall"]))
    rows = []
    for result in results:
        after = {
            group.name: next((bar for bar in group.bars if bar.kind == "after"), None)
            for group in charts.score_groups(facts.section(result, "scores"))
        }
        base = facts.at(result, "recipe", "resolved", "model", "quantization")
        rows.append(
            [
                facts.method(result) + (f", {base.upper()} base" if base not in (None, "none") else ""),
                numbers.rate(facts.at(result, "recipe", "resolved", "train", "learning_rate")),
                numbers.count(facts.at(result, "training", "steps")),
                numbers.decimal(facts.at(result, "training", "final_loss")),
                *(_score(after.get(column)) for column in columns),
            ]
        )
    return markdown(["method", "learning rate", "steps", "final training loss", *columns], rows, right=3 + len(columns))


def parity_table(root: Path) -> str:
    """One table a precision: an engine and number of processes a row, a comparison a column."""
    if not (root / PARITY).exists():
        return NO_RESULT
    runs, tables = read_json(root / PARITY)["runs"], []
    for precision in dict.fromkeys(run["precision"] for run in runs):
        chosen = [run for run in runs if run["precision"] == precision]
        columns = list(dict.fromkeys(what for run in chosen for what in run["errors"]))
        rows = [
            [run["engine"], str(run["processes"]), *(numbers.error(run["errors"].get(what)) for what in columns)]
            for run in chosen
        ]
        tables.append(f"**{precision}**\n\n{markdown(['engine', 'processes', *columns], rows, right=len(columns) + 1)}")
    return "\n\n".join(tables)


def recipe_list(root: Path) -> str:
    """What the recipes are for, a row each."""
    rows = [
        [f"[{path.stem}](recipes/{path.name})", recipe_text(path, "description")]
        for path in recipe_files(root / "recipes")
    ]
    return markdown(["recipe", "what it does"], rows)


def recipe_table(root: Path) -> str:
    """One row for each recipe × preset."""
    results = [read_json(root / RESULT)] if (root / RESULT).exists() else []
    results += compared(root)
    rows = [
        _recipe_row(load_recipe(path, preset), results)
        for path in recipe_files(root / "recipes")
        for preset in available_presets(path)
    ]
    heads = ["recipe", "preset", "model", "data", "method", "hardware", "ZeRO", "memory needed (estimate)", "score"]
    return markdown(heads, rows) if rows else "*No recipe yet.*"


@functools.cache
def needed_gib(recipe: Recipe) -> float:
    """The dry run's estimate of what a GPU, or the host where there is none, holds at most."""
    from mlplora_vlm.memory import GIB
    from recipes.dry_run import dry_run

    return dry_run(recipe).memory.needed(recipe.hardware) / GIB


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]], right: int = 0) -> str:
    """A table whose last ``right`` columns are aligned to the right."""
    rules = ["---"] * (len(heads) - right) + ["---:"] * right
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in (heads, *rows)]
    lines = ["| " + " | ".join(row) + " |" for row in [cells[0], rules, *cells[1:]]]
    return "\n".join(lines)


def _recipe_row(recipe: Recipe, results: Sequence[Mapping[str, Any]]) -> list[str]:
    """``results``: the first of a preset is the one of the preset as it stands."""

    def named(result: Mapping[str, Any]) -> bool:
        run = facts.section(result, "recipe")
        return (run.get("name"), run.get("preset")) == (recipe.name, recipe.preset)

    judged = recipe.eval.judge or "overall"
    score = "–"
    if (result := next(filter(named, results), None)) and not facts.by_heart(result):
        cell = facts.at(result, "scores", "after", "scores", judged) or {}
        score = f"{judged} {numbers.percent(cell.get('score'))}"
    quantization = "" if recipe.model.quantization == "none" else f", {recipe.model.quantization.upper()}"
    hardware = recipe.hardware
    device = f"{hardware.gpus} GPU{'s' if hardware.gpus > 1 else ''}" if hardware.gpus else "CPU"
    each = " each" if hardware.gpus > 1 else ""
    size = f", {hardware.memory_gib:g}\u00a0GiB{each}" if hardware.memory_gib else ""
    method = facts.method({"recipe": {"resolved": recipe.to_dict()}})
    return [
        recipe.name,
        f"`{recipe.preset}`",
        f"`{recipe.model.id}`",
        recipe.data.source,
        f"{method}, rank {recipe.adapter.rank}{quantization}",
        f"{device}{size}",
        str(recipe.train.zero_stage),
        f"{needed_gib(recipe):.0f}\u00a0GiB{each}",
        score,
    ]


def _sentence(result: Mapping[str, Any]) -> str:
    """What stands below the table: the verdict and the proof chain, in a line each."""
    verify, seconds, peaks = (facts.section(result, key) for key in ("verify", "seconds", "peak_memory_mib"))
    layers = [f"{numbers.count(n)} {kind}" for kind, n in facts.section(result, "adapted_layers").items()]
    total = sum(value for value in seconds.values() if numbers.known(value))
    peak = max((value for value in peaks.values() if numbers.known(value)), default=None)
    known = [
        f"adapted layers: {', '.join(layers)}" if layers else "",
        f"error of collapse {numbers.error(verify.get('collapse_error'))}, of merge "
        f"{numbers.error(verify.get('merge_error'))}"
        if verify
        else "",
        f"{numbers.duration(total)} in all" if total else "",
        f"largest process {numbers.memory(peak)}" if peak else "",
        str(result.get("device") or ""),
    ]
    verdict = facts.at(result, "verdict", "sentence") or ""
    return "  \n".join(line for line in (verdict, "; ".join(part for part in known if part)) if line)


def _score(bar: charts.Bar | None) -> str:
    if bar is None:
        return numbers.MISSING
    bounds = numbers.interval(bar.low, bar.high)
    return f"{numbers.percent(bar.score)} ({bounds})" if bounds else numbers.percent(bar.score)


if __name__ == "__main__":
    sys.exit(main())
