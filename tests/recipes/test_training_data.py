"""What the recipe would train is compared with what its rows hold, before anything is trained."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from data_prep.demo.models import model_path
from data_prep.prepared import prepared_parts
from mlplora_vlm.errors import MendableError
from mlplora_vlm.load import load_processor
from recipes.data import prepare_data, refuse_nothing_learned, report_leaks
from recipes.recipe import load_recipe

RECIPE = """
name: mine
model: {{id: demo/tiny-llava, dtype: float32}}
data: {{source: table, folder: {folder}, prompt: as_written, max_length: 256}}
adapter: {{rank: 2}}
train: {{batch_size: 4, max_steps: 2, eval_steps: {eval_steps}, eval_rows: 1}}
eval: {{task: shapes_test, controls: []}}
hardware: {{gpus: 0}}
"""


def prepared(folder, *overrides, images=(None, None), eval_steps=0):
    """The recipe, and its prepared rows: one question each, with the image of this name or none."""
    Image.new("RGB", (40, 30), "red").save(folder / "a.png")
    rows = [{"image": image, "question": f"{number}?", "answer": "yes"} for number, image in enumerate(images)]
    (folder / "train.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "mine.yaml").write_text(RECIPE.format(folder=folder, eval_steps=eval_steps))
    recipe = load_recipe(folder / "mine.yaml", None, overrides)
    prepare_data(recipe, load_processor(model_path(recipe.model.id), recipe.model), folder / "data")
    return recipe


@pytest.mark.parametrize(
    "parts", [["on=[projector]"], ["on=[vision]"], ["on=[projector,vision]"], ["on=[vision]", "full=[projector]"]]
)
def test_text_rows_teach_nothing_to_what_only_images_pass_through(tmp_path, parts):
    with pytest.raises(MendableError, match="no training row has an image") as error:
        prepared(tmp_path, *(f"adapter.{part}" for part in parts))
    assert error.value.where == "adapter.on" and "language" in error.value.fix


def test_one_image_or_the_language_model_is_enough(tmp_path):
    prepared(tmp_path, "adapter.on=[projector]", images=(None, "a.png"))
    prepared(tmp_path, "adapter.on=[language]")


def test_an_image_of_the_validation_alone_is_not_enough(tmp_path):
    with pytest.raises(MendableError, match="no training row has an image"):
        for number in range(8):  # whichever row is held out
            images = ["a.png" if place == number else None for place in range(8)]
            prepared(tmp_path, "adapter.on=[projector]", images=images, eval_steps=1)


def test_another_adapter_on_a_prepared_set_is_refused_too(tmp_path):
    recipe = prepared(tmp_path)
    other = load_recipe(tmp_path / "mine.yaml", None, ["adapter.on=[projector]"])
    refuse_nothing_learned(recipe, prepared_parts(recipe.data, tmp_path / "data"))
    with pytest.raises(MendableError, match="nothing would be learned"):
        refuse_nothing_learned(other, prepared_parts(other.data, tmp_path / "data"))


@pytest.mark.parametrize("content", [None, "", "[1]", "{", "version https://git-lfs", "\ufeff{}"])
def test_a_damaged_report_is_prepared_again(tmp_path, content):
    recipe = prepared(tmp_path)
    path = tmp_path / "data" / "report.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(MendableError) as error:
        report_leaks(recipe, tmp_path / "data")
    assert error.value.where == str(path) and "--from prepare" in error.value.fix
