"""``python -m recipes preview``: a page of the rows that a training with this recipe gets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from data_prep.demo.models import model_path
from data_prep.prepared import prepare
from mlplora_vlm.load import load_processor
from recipes.__main__ import main
from recipes.recipe import load_recipe
from recipes.verbs.preview import PAGE, READ, first_rows, prepared_rows

RECIPE = """
name: small
model: {id: demo/tiny-llava}
data: {source: shapes, split: sixteen, max_length: 128}
adapter: {rank: 8, generator: {hidden: 16}}
eval: {task: shapes_sixteen}
"""


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE)
    return path


def cards(page: Path) -> list[str]:
    return re.findall(r'<li class="panel row">.*?</li>', page.read_text(), re.DOTALL)


def test_without_a_prepared_set_the_first_rows_are_checked_and_shown(recipe_file, tmp_path, capsys):
    assert main(["preview", str(recipe_file), "--out", str(tmp_path / "out"), "--rows", "3", "data.max_length=64"]) == 0
    shown = cards(tmp_path / "out" / PAGE)
    assert 4 <= len(shown) <= 5 and sum("by seed" in card for card in shown) == 3
    assert all("shapes/sixteen/" in card and "data:image/png" in card for card in shown)
    assert "(16 can be used)" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "out").iterdir()} == {".mlplora_vlm", PAGE}


def test_a_prepared_set_is_shown_where_it_is_the_recipes(recipe_file, tmp_path):
    from recipes.chain import Chain
    from recipes.stages import STAGES

    recipe = load_recipe(recipe_file)
    Chain([stage for stage in STAGES if stage.name == "prepare"], recipe, tmp_path / "out").run()
    words = ["preview", str(recipe_file), "--out", str(tmp_path / "out"), "--rows", "2"]
    assert main(words) == 0
    assert "Out of the 16 training rows" in (tmp_path / "out" / PAGE).read_text()
    assert main([*words, "data.max_length=64"]) == 0  # another recipe's set
    assert "No prepared set yet" in (tmp_path / "out" / PAGE).read_text()


def test_held_back_rows_are_not_shown(recipe_file, tmp_path):
    recipe = load_recipe(recipe_file, None, ["data.split=train", "eval.task=shapes_test"])
    processor = load_processor(model_path(recipe.model.id), recipe.model)
    prepare(recipe.data, processor, tmp_path / "data", held_back=100, progress=False)
    rows, note = prepared_rows(recipe.data, tmp_path / "data", 999, 0)
    assert 0 < len(rows) <= 156 and not any(row["held_back"] for row, _ in rows) and f"{len(rows)} training" in note


def test_rows_that_are_left_out_are_counted(recipe_file):
    recipe = load_recipe(recipe_file, None, ["data.max_length=33"])
    processor = load_processor(model_path(recipe.model.id), recipe.model)
    rows, note = first_rows(recipe.data, processor, 99, 0)
    kept, dropped = re.search(r"\((\d+) can be used(?:, (\d+) left out: too long)?\)", note).groups()
    assert len(rows) == int(kept) < 16 and int(kept) + int(dropped) == 16 <= READ
    assert all(row["length"] <= 33 for row, _ in rows)
