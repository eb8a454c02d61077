"""A mixture in a recipe: read, checked and written back like everything else, each mistake with its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_prep.section import SourceSection
from mlplora_vlm.errors import MendableErrors
from recipes.environment import check_environment
from recipes.recipe import load_recipe, load_resolved

MIXED = """
name: mixed
model: {id: demo/tiny-llava}
data:
  source: shapes
  epochs: 2
  mixed_with:
    mine: {source: messages, folder: nowhere, prompt: as_written, weight: 0.5}
    table: {source: table, folder: nowhere, columns: {question: asked, answer: said}, limit: 100}
adapter: {rank: 8}
eval: {task: shapes_test}
presets:
  alone:
    description: without the others
    data: {mixed_with: null}
"""


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    path = tmp_path / "mixed.yaml"
    path.write_text(MIXED)
    return path


def test_a_mixture_is_read_overridden_and_written_back(mixed: Path, tmp_path: Path) -> None:
    recipe = load_recipe(mixed, overrides=["data.mixed_with.mine.weight=0.25", "data.mixed_with.table.columns.id=key"])
    sources = recipe.data.sources()
    assert list(sources) == ["shapes", "mine", "table"] and type(sources["shapes"]) is SourceSection
    assert (sources["shapes"].epochs, sources["mine"].weight, sources["table"].limit) == (2.0, 0.25, 100)
    assert sources["table"].columns == {"question": "asked", "answer": "said", "id": "key"}
    recipe.dump_resolved(tmp_path / "resolved.yaml")
    assert load_resolved(tmp_path / "resolved.yaml") == recipe and hash(recipe) == hash(recipe)


def test_a_preset_takes_the_mixture_back(mixed: Path) -> None:
    assert list(load_recipe(mixed, "alone").data.sources()) == ["shapes"]


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("data.mixed_with.mine.source=mesages", "data.mixed_with.mine.source: there is no 'mesages' (did you mean"),
        ("data.mixed_with.mine.prompt=short", "data.mixed_with.mine.prompt: there is no 'short'"),
        ("data.mixed_with.mine.wieght=1", "unknown key data.mixed_with.mine.wieght (did you mean 'weight'?)"),
        ("data.mixed_with.mine.epochs=0", "epochs must be above 0"),
        ("data.mixed_with.mine.epochs=3", "a source has a weight or epochs, not both"),
        ("data.mixed_with.mine.columns={answer: a}", "the source messages has no columns"),
        ("data.columns={answer: a}", "data.columns: the source shapes has no columns"),
        ("data.mixed_with.mine.split=[1]", "data.mixed_with.mine.split: expected text, got a list"),
        ("data.mixed_with.mine=3", "data.mixed_with.mine: expected keys with values"),
        ("data.mixed_with=[1]", "data.mixed_with: expected keys with values, got a list"),
        ("data.mixed_with.shapes={source: shapes}", "is the first source's own"),
        ("data.mixed_with.a/b={source: shapes}", "cannot be part of a folder's name"),
        ("data.mixed_with.test={source: shapes, split: test}", "task shapes_test is measured on this very split"),
    ],
)
def test_every_mistake_is_named_with_its_key(mixed: Path, override: str, says: str) -> None:
    with pytest.raises(MendableErrors) as error:
        load_recipe(mixed, overrides=[override])
    assert says in str(error.value)


def test_every_source_s_missing_data_is_told_at_once(mixed: Path) -> None:
    said = "\n".join(map(str, check_environment(load_recipe(mixed))))
    assert said.count("nowhere") >= 2


def test_a_task_about_the_rows_that_were_trained_on_knows_no_mixture(mixed: Path) -> None:
    with pytest.raises(MendableErrors, match=r"data\.mixed_with"):
        load_recipe(mixed, overrides=["eval.task=shapes_sixteen", "data.split=sixteen"])
