"""A recipe's training data on disk, checked, counted and compared with the evaluation's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.data_page import data_page
from data_prep.prepared import pass_order, prepare, prepared_parts, rejects
from data_prep.statistics import statistics
from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import read_json, write_json, write_text
from recipes.launch import nodes
from recipes.recipe import Recipe

if TYPE_CHECKING:
    from datasets import Dataset

    from mlplora_vlm.families.processor import FamilyProcessor

REPORT, PAGE = "report.json", "report.html"
SHOWN_REJECTS = 500


def prepare_data(recipe: Recipe, processor: FamilyProcessor, folder: Path) -> dict[str, Any]:
    """Prepares the recipe's rows in ``folder`` (see `data_prep.prepared.prepare`), and writes and returns the report.

    Beside the statistics it has ``rows`` (of one pass over the mixture), ``left_out`` (rejected rows by reason) and
    ``leaks`` (None: not looked for yet).
    """
    train = recipe.train
    counts = prepare(recipe.data, processor, folder, train.seed, held_back_rows(recipe))
    parts = prepared_parts(recipe.data, folder)
    refuse_nothing_learned(recipe, parts)
    rows = pass_order(recipe.data, parts, train.seed)
    left_out: Counter[str] = Counter()
    for count in counts.values():
        left_out.update(count.rejected)
    report = {
        "rows": len(rows),
        "left_out": dict(left_out.most_common()),
        "leaks": None,
        **statistics(
            parts, counts, rows, train.batch_size, train.gradient_accumulation, train.processes * nodes()[0], train.seed
        ),
    }
    _write(report, folder)
    return report


def refuse_nothing_learned(recipe: Recipe, parts: Mapping[str, Dataset]) -> None:
    """Raise MendableError where no training row shows an image and only parts that images pass through are trained."""
    import pyarrow.compute as pc

    trained = {*recipe.adapter.on, *recipe.adapter.full}
    if "language" in trained:
        return
    for part in parts.values():
        images = pc.list_value_length(part.data.column("images")).to_numpy()
        if images[~part.data.column("held_back").to_numpy()].any():
            return
    what = f"no training row has an image, and only the {' and the '.join(sorted(trained))} would be trained"
    fix = "add language to adapter.on, or train on rows with images"
    raise MendableError(f"{what}: nothing would be learned", "adapter.on", fix)


def report_leaks(recipe: Recipe, folder: Path) -> int:
    """Adds to the report which of the evaluation's pictures are trained on, pixel by pixel; returns how many.

    A task about the rows that were trained on has all its pictures from there: nothing is looked for.
    """
    from data_prep.leaks import leaks
    from eval_harness.evaluate import task_sample

    try:
        report = read_json(folder / REPORT, dict)
    except MendableError as error:
        what = f"the report of the prepared set cannot be read ({error.what})"
        raise MendableError(what, str(folder / REPORT), "run again with --from prepare") from error
    if not recipe.eval.chosen().by_heart:
        report["leaks"] = leaks(prepared_parts(recipe.data, folder), task_sample(recipe.eval)[0])
        _write(report, folder)
    return len(report["leaks"] or [])


def said(report: dict[str, Any], folder: Path) -> str:
    """The report in a few lines."""
    lines = []
    for name, count in report["sources"].items():
        left_out = [f"{number:,} {reason}" for reason, number in count["rejected"].items()]
        rows = f"{name}: {count['accepted']:,} of {count['read']:,} rows can be used"
        lines.append(rows + f"; left out: {', '.join(left_out)}" * bool(left_out))
    return "\n".join([*lines, f"{report['rows']:,} rows a pass; report: {folder / PAGE}"])


def held_back_rows(recipe: Recipe) -> int:
    """How many rows are kept out of the training to measure the loss on."""
    return recipe.train.eval_rows if recipe.train.eval_steps else 0


def _write(report: dict[str, Any], folder: Path) -> None:
    write_json(folder / REPORT, report)
    write_text(folder / PAGE, data_page(report, list(islice(rejects(folder), SHOWN_REJECTS))))
