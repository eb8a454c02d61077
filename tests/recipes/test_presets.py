"""Every recipe and preset, dry: the adapter finds its layers, the estimate fits the card, nothing asks the network."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from mlplora_vlm.families.published import published_ids
from recipes.dry_run import dry_run, verdict
from recipes.recipe import available_presets, load_recipe, recipe_files

RECIPES = recipe_files(Path(__file__).parents[2] / "recipes")
EVERY = [(path, preset) for path in RECIPES for preset in available_presets(path)]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever connects, or asks for a host's address, fails."""

    def refuse(*asked: Any, **options: Any) -> None:
        raise AssertionError(f"the dry run asks the network: {asked}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize(("path", "preset"), EVERY, ids=lambda value: getattr(value, "stem", value))
def test_every_preset_finds_its_layers_and_fits_its_card(path: Path, preset: str) -> None:
    recipe = load_recipe(path, preset)
    run = dry_run(recipe)
    assert run.fits, verdict(run)
    assert run.layers.keys() == set(recipe.adapter.on) and all(run.layers.values())
    assert bool(run.parameters["full"]) == bool(recipe.adapter.full)
    assert run.parameters["generator"] > run.parameters["adapter"] * recipe.adapter.generator.hidden
    assert bool(run.memory.gpu) == (recipe.hardware.gpus > 0)


def test_every_real_model_is_planned_from_what_is_kept_here() -> None:
    models = {load_recipe(path, preset).model.id for path, preset in EVERY}
    assert {model for model in models if not model.startswith("demo/")} <= set(published_ids())
    assert len([model for model in models if model.startswith("demo/tiny-")]) == 9


def test_smoke_is_the_same_family() -> None:
    """What the smoke run proves is of the family that the recipe trains."""
    from recipes.dry_run import model_config

    for path in RECIPES:
        types = {model_config(load_recipe(path, preset)).model_type for preset in available_presets(path)}
        assert len(types) == 1, (path.stem, types)
