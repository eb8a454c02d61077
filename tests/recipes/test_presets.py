"""Every recipe is planned from what is kept here: no network, and its smoke run is of its own family.

That each preset finds its layers and fits its card is in test_dry_run.py.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from mlplora_vlm.families.published import published_ids
from recipes.dry_run import dry_run, model_config
from recipes.recipe import available_presets, load_recipe, recipe_files

RECIPES = recipe_files(Path(__file__).parents[2] / "recipes")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever connects, or asks for a host's address, fails."""

    def refuse(*asked: Any, **options: Any) -> None:
        raise AssertionError(f"the dry run asks the network: {asked}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_planned_without_network(path: Path) -> None:
    recipe = load_recipe(path, "qlora-24gb")
    run = dry_run(recipe)
    assert run.layers.keys() == set(recipe.adapter.on) and run.pictures.tokens
    assert bool(run.parameters["full"]) == bool(recipe.adapter.full)


def test_every_model_is_kept_here_or_made_here() -> None:
    models = {load_recipe(path, preset).model.id for path in RECIPES for preset in available_presets(path)}
    assert {model for model in models if not model.startswith("demo/tiny-")} <= set(published_ids())
    assert len([model for model in models if model.startswith("demo/tiny-")]) == 9  # two recipes are LLaVA-1.5's


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_smoke_proves_the_chain_for_the_family_that_is_trained(path: Path) -> None:
    assert len({model_config(load_recipe(path, preset)).model_type for preset in available_presets(path)}) == 1
