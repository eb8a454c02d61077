"""What makes a recipe fit is found with the same estimate, said in words that the recipe takes, and enough."""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mlplora_vlm.errors import MendableError
from mlplora_vlm.memory import GIB
from recipes.dry_run import Planner
from recipes.fit import CHANGES, advised, changed, largest_batch, on_hardware, refusals, show_fit, variants
from recipes.recipe import Recipe, load_recipe
from recipes.verbs.plan import gibibytes

LLAVA = Path(__file__).parents[2] / "recipes" / "llava_vqa.yaml"


@pytest.fixture(scope="module")
def planner() -> Planner:
    return Planner(load_recipe(LLAVA, "lora-80gb"))


def short(gib: float) -> Recipe:
    return on_hardware(load_recipe(LLAVA, "lora-80gb"), 1, gib)


def test_the_advice_makes_it_fit_in_the_recipes_own_words(planner: Planner) -> None:
    recipe = short(24)
    assert not planner.memory(recipe).fits(recipe.hardware)
    advice = advised(recipe, planner)
    words = [word for one in advice for word in one.overrides]
    then = on_hardware(load_recipe(LLAVA, "lora-80gb", words), 1, 24)  # refuses what is not a key or cannot meet
    assert planner.memory(then).fits(then.hardware)
    assert planner.memory(then).needed(then.hardware) == advice[-1].needed
    before = planner.memory(recipe).needed(recipe.hardware)
    falling = [before, *(one.needed for one in advice)]
    assert falling == sorted(falling, reverse=True)
    first = advice[0]
    alone = changed(recipe, first.change.words(recipe))
    assert first.saves >= before - planner.memory(alone).needed(recipe.hardware) > 0
    rows = then.train.batch_size * then.train.gradient_accumulation
    assert rows == recipe.train.batch_size * recipe.train.gradient_accumulation, "a step still sees the same rows"


def test_the_cheapest_change_comes_first_and_no_more_than_needed(planner: Planner) -> None:
    recipe = load_recipe(LLAVA, "lora-80gb")
    needed = planner.memory(recipe).needed(recipe.hardware) / GIB
    [only] = advised(on_hardware(recipe, 1, needed - 0.5), planner)
    assert only.change.what == "smaller micro-batches, more of them"
    assert advised(on_hardware(recipe, 1, needed + 0.5), planner) == []


def test_nothing_makes_a_model_fit_that_is_too_large(planner: Planner) -> None:
    recipe = short(2)
    advice = advised(recipe, planner)
    assert advice and advice[-1].needed > 2 * GIB
    told = shown(recipe, planner)
    assert "Nothing of this makes it fit" in told and "not even one row fits" in told


def test_the_largest_batch_fits_and_one_more_does_not(planner: Planner) -> None:
    recipe = load_recipe(LLAVA, "lora-80gb")
    rows = largest_batch(recipe, planner)
    assert rows >= recipe.train.batch_size
    for batch, wanted in ((rows, True), (rows + 1, False)):
        one = changed(recipe, {"train.batch_size": batch})
        assert planner.memory(one).fits(one.hardware) == wanted, batch
    assert largest_batch(on_hardware(recipe, 1, 0), planner) == 0


def test_every_stage_and_four_bits_stand_in_the_table(planner: Planner) -> None:
    recipe = on_hardware(load_recipe(LLAVA, "lora-80gb"), 4, 40)
    assert recipe.train.processes == 4
    held = {title: planner.memory(one) for title, one in variants(recipe)}
    assert list(held) == ["ZeRO 0", "ZeRO 1", "ZeRO 2", "ZeRO 3", "NF4, ZeRO 2"]
    weights = {title: found.gpu["base weights"] for title, found in held.items()}
    assert weights["ZeRO 3"] == weights["ZeRO 2"] // 4 and weights["NF4, ZeRO 2"] < weights["ZeRO 2"] / 3
    states = {title: found.gpu["generator moments"] for title, found in held.items()}
    assert states["ZeRO 1"] == pytest.approx(states["ZeRO 0"] / 4, rel=0.01)
    told = shown(recipe, planner)
    for words in (*held, "base weights", "a host, all its processes", "refused"):  # bf16 without masters
        assert words in told, words


def test_no_change_is_refused_where_it_is_offered() -> None:
    recipe = load_recipe(LLAVA, "qlora-24gb")
    offered = {change.what: changed(recipe, change.words(recipe)) for change in CHANGES}
    assert refusals(recipe) == [] and all(
        not refusals(one) for what, one in offered.items() if what not in ("ZeRO-3", "optimizer offloaded")
    )
    assert offered["ZeRO-3"] == recipe, "one GPU has nothing to partition over"
    eight = on_hardware(recipe, 8, 24)
    assert refusals(changed(eight, {"train.zero_stage": 3})), "4-bit weights cannot be partitioned"


def test_hardware_is_taken_from_the_command_line() -> None:
    recipe = load_recipe(LLAVA, "zero3-8gpu")
    assert on_hardware(recipe, None, None) == recipe
    assert on_hardware(recipe, 16, None).train.processes == 8
    with pytest.raises(MendableError, match="no whole number of nodes"):
        on_hardware(recipe, 12, None)
    assert gibibytes("24GiB") == gibibytes("24") == gibibytes("24 g") == 24
    assert gibibytes("24GB") == pytest.approx(22.35, abs=0.01)
    for wrong in ("", "much", "-3", "0"):
        with pytest.raises(argparse.ArgumentTypeError):
            gibibytes(wrong)


def shown(recipe: Recipe, planner: Planner) -> Any:
    out = io.StringIO()
    show_fit(recipe, planner, Console(file=out, width=160, no_color=True))
    return out.getvalue()
