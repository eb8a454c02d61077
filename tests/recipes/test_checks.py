"""What is trained on and what is asked: held apart for a score, the very same for learning by heart."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlplora_vlm.errors import MendableErrors
from recipes.recipe import load_recipe

BY_HEART = """
name: small
model: {id: demo/tiny-llava}
data: {source: shapes, split: sixteen, max_length: 128}
adapter: {rank: 8, generator: {hidden: 16}}
eval: {task: shapes_sixteen}
"""


def recipe(folder: Path, *overrides: str) -> None:
    (folder / "small.yaml").write_text(BY_HEART)
    load_recipe(folder / "small.yaml", None, overrides)


def test_what_was_learnt_by_heart_may_be_asked(tmp_path: Path) -> None:
    recipe(tmp_path)
    recipe(tmp_path, "data.split=train", "eval.task=shapes_test")
    recipe(tmp_path, "eval.task=shapes_test")  # other rows: a score


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["data.split=train"], "data.split is train"),
        (["data.source=easy_vqa", "data.split=sixteen"], "data.source is easy_vqa"),
        (["data.prompt=as_written"], "data.prompt is as_written"),
        (["data.limit=8"], "data.limit is 8"),
        (["train.eval_steps=4", "train.eval_rows=4"], "train.eval_steps is 4"),
    ],
)
def test_by_heart_means_all_the_rows_in_the_same_words(tmp_path: Path, overrides: list[str], key: str) -> None:
    with pytest.raises(MendableErrors) as caught:
        recipe(tmp_path, *overrides)
    [error] = caught.value.errors
    assert key in error.what and "shapes_sixteen" in error.what


def test_a_score_is_never_taken_on_the_training_rows(tmp_path: Path) -> None:
    with pytest.raises(MendableErrors) as caught:
        recipe(tmp_path, "data.split=test", "eval.task=shapes_test")
    [error] = caught.value.errors
    assert "measured on this very split" in error.what
