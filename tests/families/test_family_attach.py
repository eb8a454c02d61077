"""Proof 1: an adapter goes on the layers that are meant, and on no other."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from mlplora_vlm.attach import AdapterSection, attach
from mlplora_vlm.errors import MendableError
from mlplora_vlm.meta import meta_model
from mlplora_vlm.targets import PartSection, targets


@pytest.fixture
def model(tiny):
    return meta_model(tiny.model().config)


def linears(model):
    return [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]


def adapted(model):
    return {
        name.removeprefix("base_model.model.").split(".lora_")[0]
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and ".lora_" in name
    }


def test_the_parts_are_apart_and_together_everything(tiny, model):
    card, names = tiny.card, linears(model)
    parts = {
        part: {name for name in names if re.fullmatch(card.pattern(part), name)} for part in ("language", "vision")
    }
    parts["projector"] = {name for name in names if re.fullmatch(card.projector, name)}
    parts["head"] = {name for name in names if name == card.head}
    assert parts["language"] and parts["vision"] and parts["head"]
    assert bool(parts["projector"]) != card.bare_projector
    assert sum(len(part) for part in parts.values()) == len(set().union(*parts.values())), "a layer in two parts"
    left = set(names) - set().union(*parts.values())
    assert all(any(re.match(rf"(?:{path})(?:\.|$)", name) for path in card.unquantized) for name in left), left
    numbers = {int(re.fullmatch(card.language, name)["layer"]) for name in parts["language"]}
    assert numbers == set(range(model.config.get_text_config().num_hidden_layers))


def test_language_and_projector_and_nothing_else(tiny, model):
    names = linears(model)
    wanted = {n for n in names if re.fullmatch(tiny.card.language, n) or re.fullmatch(tiny.card.projector, n)}
    tuned, counts = attach(model, tiny.adapter)
    assert adapted(tuned) == wanted and sum(counts.values()) == len(wanted)
    full = {n for n, p in tuned.named_parameters() if p.requires_grad and ".lora_" not in n}
    assert bool(full) == tiny.card.bare_projector and all(".modules_to_save." in n for n in full)


def test_the_vision_tower_alone(tiny, model):
    wanted = {name for name in linears(model) if re.fullmatch(tiny.card.vision, name)}
    tuned, counts = attach(model, AdapterSection(on=("vision",), rank=2, alpha=4))
    assert adapted(tuned) == wanted and counts == {"vision": len(wanted)}


def test_attention_and_mlp_share_the_layers_out(tiny, model):
    section = AdapterSection(on=("language",), rank=2, alpha=4)
    found = {
        choice: set(targets(model, replace(section, language=PartSection(modules=choice)), tiny.card)["language"])
        for choice in ("all", "attention", "mlp")
    }
    assert found["attention"] and found["mlp"] and not found["attention"] & found["mlp"]
    assert found["attention"] | found["mlp"] == found["all"]


def test_a_range_of_layers_with_a_rank_of_its_own(tiny, model):
    section = AdapterSection(on=("language",), rank=2, alpha=4, language=PartSection(layers="1", rank=5))
    tuned, _ = attach(model, section)
    names = adapted(tuned)
    assert names and {int(re.fullmatch(tiny.card.language, name)["layer"]) for name in names} == {1}
    assert {p.shape[0] for n, p in tuned.named_parameters() if ".lora_A." in n} == {5}
    layers = [module for module in tuned.modules() if hasattr(module, "lora_A")]
    assert {layer.scaling["default"] for layer in layers} == {2.0}, "the scale stays the section's"


def test_layers_that_are_not_there_are_an_error(tiny, model):
    section = AdapterSection(on=("language",), language=PartSection(layers="90-99"))
    with pytest.raises(MendableError, match=r"layers that are not there"):
        targets(model, section, tiny.card)


def test_a_pattern_that_fits_nothing_names_its_neighbours(tiny, model):
    card = replace(tiny.card, language=tiny.card.language.replace("layers", "layerz"))
    with pytest.raises(MendableError, match=r"the nearest: .*layers"):
        targets(model, AdapterSection(on=("language",)), card)
