"""A model's widths are read from its layers, however they are named, fused or mixed."""

from __future__ import annotations

from typing import Any

import pytest

from data_prep.demo.tiny import FAMILIES, tiny_family
from data_prep.demo.tiny.build import build_config
from mlplora_vlm.attach import AdapterSection
from mlplora_vlm.families.card import card_for
from mlplora_vlm.families.published import published_config
from mlplora_vlm.meta import meta_model
from mlplora_vlm.stacks import Block, projections, stack
from mlplora_vlm.targets import targets


def published(name: str) -> Any:
    config = published_config(name)
    assert config is not None
    return meta_model(config), card_for(config.model_type)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_two_stacks_and_a_projector(name: str) -> None:
    config = build_config(tiny_family(name))
    model, card = meta_model(config), card_for(config.model_type)
    text = config.get_text_config()
    language, tower = stack(model, card, "language"), stack(model, card, "vision")
    assert [layer.number for layer in language] == list(range(text.num_hidden_layers))
    assert {layer.width for layer in language} == {text.hidden_size}
    for layer in (*language, *tower):
        assert layer.attention.reads and layer.attention.writes and layer.mlp.reads and layer.mlp.writes
        assert layer.norms >= layer.width and layer.adapted == ()
    assert all(min(widths) > 1 for widths in projections(model, card).values()) and projections(model, card)


def test_grouped_queries_and_gates() -> None:
    model, card = published("Qwen/Qwen2.5-VL-7B-Instruct")
    first = stack(model, card, "language")[0]
    assert first.attention == Block(reads=(3584, 512, 512), writes=3584) and first.attention.keys == 2 * 512
    assert first.mlp == Block(reads=(18944, 18944), writes=18944)
    assert first.norms == 2 * 3584
    seeing = stack(model, card, "vision")
    assert len(seeing) == 32 and seeing[0].attention == Block(reads=(3840,), writes=1280)
    assert seeing[0].attention.keys == 2 * 1280
    assert list(projections(model, card).values()) == [(5120, 5120), (5120, 3584)]


def test_cross_attention_and_two_towers_in_one() -> None:
    model, card = published("meta-llama/Llama-3.2-11B-Vision-Instruct")
    language, tower = stack(model, card, "language"), stack(model, card, "vision")
    assert len(language) == 40 and len(tower) == 32 + 8
    assert {layer.attention for layer in language} == {Block(reads=(4096, 1024, 1024), writes=4096)}
    assert language[3].norms > language[2].norms  # queries and keys have norms of their own


def test_a_bare_projector_and_four_norms() -> None:
    model, card = published("google/gemma-3-4b-it")
    assert list(projections(model, card).values()) == [(1152, 2560)]
    layer = stack(model, card, "language")[0]
    assert layer.attention == Block(reads=(2048, 1024, 1024), writes=2048)
    assert layer.norms == 4 * 2560 + 2048 + 2 * 1024


def test_only_named_linears_are_adapted() -> None:
    model, card = published("llava-hf/llava-1.5-7b-hf")
    found = targets(model, AdapterSection(on=("language",)), card)["language"]
    layers = stack(model, card, "language", [name for name in found if ".layers.31." in name and "mlp" in name])
    assert [len(layer.adapted) for layer in layers] == [0] * 31 + [3]
    assert layers[31].adapted == ((4096, 11008), (4096, 11008), (11008, 4096))
