"""Shows training rows as the model gets them: the pictures after the processor, the text token by token.

OUT/preview.html has rows chosen by seed, and the longest, the shortest and the one with most pictures.  The rows are
those of the prepared set where `check` or `run` left one in OUT, else the first ones of each source, checked here.
"""

from __future__ import annotations

import argparse
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from recipes.command_line import chosen_recipe, out_folder, recipe_words, seed

if TYPE_CHECKING:
    from data_prep.record import Record
    from data_prep.section import DataSection
    from mlplora_vlm.families.processor import FamilyProcessor

EXAMPLES = """\
  python -m recipes preview recipes/llava_vqa.yaml --preset demo
  python -m recipes preview recipes/qwen_vl_vqa.yaml --rows 30 --seed 1 data.folder=/data/vqav2
"""
PAGE = "preview.html"
READ = 256  # rows of each source, where no set is prepared

Rows = list[tuple["Record", list[str]]]


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``preview``."""
    recipe_words(parser)
    parser.add_argument("--rows", type=int, default=12, help="rows chosen by seed (%(default)s)")
    parser.add_argument("--seed", type=seed, default=0, help="chooses other rows (%(default)s)")


def run(given: argparse.Namespace) -> int:
    """0; the page is there."""
    recipe = chosen_recipe(given)
    from data_prep.demo.models import model_path
    from data_prep.preview import preview_page
    from mlplora_vlm.files import check_claimable, write_text
    from mlplora_vlm.load import load_processor
    from recipes.chain import FORMER_STAMPS, Chain, claim_output
    from recipes.stages import STAGES

    out = out_folder(given, recipe)
    check_claimable(out, *FORMER_STAMPS)
    processor = load_processor(model_path(recipe.model.id), recipe.model)
    if Chain(STAGES, recipe, out).done("prepare"):
        rows, note = prepared_rows(recipe.data, out / "data", given.rows, given.seed)
    else:
        rows, note = first_rows(recipe.data, processor, given.rows, given.seed)
    print(note)
    claim_output(out)
    write_text(out / PAGE, preview_page(recipe.name, processor, rows, notes=[f"{recipe.model.id}. {note}"]))
    print(f"page: {out / PAGE}")
    return 0


def prepared_rows(settings: DataSection, folder: Path, count: int, seed: int) -> tuple[Rows, str]:
    """Training rows of the prepared set with why they are shown, and a sentence about where they are from."""
    import numpy as np
    import pyarrow.compute as pc
    from datasets import concatenate_datasets

    from data_prep.prepared import prepared_parts
    from data_prep.preview import pick

    rows = concatenate_datasets(list(prepared_parts(settings, folder).values()))
    columns = rows.data
    training = np.flatnonzero(~columns.column("held_back").to_numpy())
    lengths = columns.column("length").to_numpy()[training].tolist()
    pictures = pc.list_value_length(columns.column("images")).to_numpy()[training].tolist()
    chosen = [(rows[int(training[number])], why) for number, why in pick(lengths, pictures, count, seed)]
    return chosen, f"Out of the {len(training):,} training rows in {folder}."


def first_rows(settings: DataSection, processor: FamilyProcessor, count: int, seed: int) -> tuple[Rows, str]:
    """As `prepared_rows`, of each source's first rows, read and checked here."""
    from data_prep.check import RowCheck
    from data_prep.preview import pick
    from data_prep.record import to_record
    from data_prep.sources import check_source, source_rows

    check, rows, rejected = RowCheck(processor, settings), [], Counter[str]()
    for name, section in settings.sources().items():
        check_source(section)
        for row in check.records([to_record(row, name) for row in islice(source_rows(section), READ)]):
            if row["reason"] is None:
                rows.append(row)
            else:
                rejected[row["reason"]] += 1
    left_out = "".join(f", {number} left out: {reason}" for reason, number in rejected.most_common())
    chosen = pick([row["length"] for row in rows], [len(row["images"]) for row in rows], count, seed)
    note = f"No prepared set yet: out of at most {READ} first rows of each source ({len(rows)} can be used{left_out})."
    return [(rows[number], why) for number, why in chosen], note
