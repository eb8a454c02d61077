"""A cut model has every kind of layer of the whole one, each at its full width, and few layers."""

from __future__ import annotations

import re

import pytest

from data_prep.demo.models import tiny_config
from data_prep.demo.tiny import FAMILIES
from mlplora_vlm.families.depth import shallow
from mlplora_vlm.families.published import published_config, published_ids
from mlplora_vlm.meta import meta_model

MODELS = [*published_ids(), *(f"demo/tiny-{name}" for name in FAMILIES)]


def shapes(config) -> set[tuple[str, tuple[int, ...]]]:
    """(name without layer numbers, shape) of every parameter."""
    model = meta_model(config)
    return {(re.sub(r"\.\d+(?=\.)", ".N", name), tuple(p.shape)) for name, p in model.named_parameters()}


def test_the_models_of_all_recipes_are_among_them():
    assert len(MODELS) == 11 + 26


@pytest.mark.parametrize("model_id", MODELS)
def test_every_kind_of_layer_stays_at_its_width(model_id):
    config = published_config(model_id) or tiny_config(model_id)
    before = config.to_dict()
    cut, layers = shallow(config)
    assert shapes(cut) == shapes(config)
    assert config.to_dict() == before
    assert layers.keys() == {"language", "vision"}
    for whole, left in layers.values():
        assert 2 <= left <= min(whole, 6)
    for part, (_, left) in layers.items():
        values = cut.to_dict()[{"language": "text_config", "vision": "vision_config"}[part]]
        assert left == next(values[key] for key in ("num_hidden_layers", "depth", "num_layers") if key in values)


def test_windowed_and_full_layers_of_a_tower_both_stay():
    cut, _ = shallow(published_config("Qwen/Qwen2.5-VL-7B-Instruct"))
    assert (cut.vision_config.depth, cut.vision_config.fullatt_block_indexes) == (2, [1])


def test_sliding_and_full_attention_both_stay():
    cut, _ = shallow(published_config("google/gemma-3-4b-it"))
    assert cut.text_config.layer_types == ["sliding_attention", "full_attention"]
