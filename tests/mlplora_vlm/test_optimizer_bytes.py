"""The predicted bytes are those of the tensors that really live after a step."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch
from torch import nn

from mlplora_vlm.attach import GeneratorSection
from mlplora_vlm.layers import GeneratedLayer
from mlplora_vlm.optimizer import GeneratedAdapterOptimizer
from mlplora_vlm.optimizer_bytes import (
    ON_AT_START,
    LayerSize,
    generator_bytes,
    layer_sizes,
    moment_bytes,
    on_at_start,
    plain_moment_bytes,
)

TINY = [(33, 47), (64, 64), (128, 344)]
SMOLLM2 = [(576, 576), (576, 192), (576, 192), (576, 576), (576, 1536), (576, 1536), (1536, 576)] * 30
"""(in, out) of the language linears of the demo's model."""


def groups(linears: list[tuple[int, int]], rank: int, **more: Any) -> list[dict[str, Any]]:
    def tensors(i: int, o: int) -> list[nn.Parameter]:
        return [nn.Parameter(torch.zeros(rank, i)), nn.Parameter(torch.zeros(o, rank))]

    return [
        {"name": str(n), "params": tensors(*sides), "heads": ("drawn", "zero")} | more
        for n, sides in enumerate(linears)
    ]


def living() -> dict[int, int]:
    """Bytes of each storage that a tensor anywhere holds."""
    gc.collect()
    storages = [t.untyped_storage() for t in gc.get_objects() if issubclass(type(t), torch.Tensor)]
    return {storage._cdata: storage.nbytes() for storage in storages}


def measured(of: list[dict[str, Any]], **choices: Any) -> tuple[int, float]:
    """Bytes that building the optimizer and one step leave, gradients apart; and the share of hidden units in W2."""
    before = living()
    optimizer = GeneratedAdapterOptimizer(of, **choices)
    for group in of:
        for param in group["params"]:
            param.grad = torch.ones_like(param)
    optimizer.step()
    optimizer.zero_grad()
    after = living()
    assert len(optimizer.layers) == len(of)
    generated = [layer.tensors for layer in optimizer.layers.values() if isinstance(layer, GeneratedLayer)]
    whole = sum(t["W2"].shape[0] * len(t["c1"]) for t in generated)
    on = sum(t["W2"].numel() for t in generated) / whole if whole else 0.0
    return sum(size for storage, size in after.items() if storage not in before), on


def predicted(of: list[dict[str, Any]], on: float = ON_AT_START, **choices: Any) -> int:
    inner = {key: choices[key] for key in ("optimizer", "momentum") if key in choices}
    section = GeneratorSection(**{key: value for key, value in choices.items() if key not in inner})
    found = generator_bytes(layer_sizes(of), section, **inner, on=on)
    return found["generator weights"] + found["generator moments"]


CHOICES = [(states, weights) for states in ("float32", "8bit", "paged8bit") for weights in ("float32", "bfloat16")]
SIZES = [(1, 1), (1, 32), (4, 4), (16, 2)]


@pytest.mark.parametrize(
    ("linears", "rank", "hidden", "states", "weights"),
    [(TINY, *size, *choice) for size in SIZES for choice in CHOICES]
    + [(SMOLLM2, 1, 32, "float32", "float32"), (SMOLLM2, 4, 4, "8bit", "bfloat16")],
)
def test_the_formula_is_within_five_percent(linears: Any, rank: int, hidden: int, states: Any, weights: Any) -> None:
    of, choices = groups(linears, rank), {"hidden": hidden, "states": states, "weights": weights}
    found, on = measured(of, **choices)
    share = on_at_start(of, GeneratorSection(hidden=hidden))  # few units are no even half
    if linears is SMOLLM2:
        assert share == pytest.approx(ON_AT_START, rel=0.1)
    expected = predicted(of, share, **choices)
    assert on in (pytest.approx(share, rel=0.03), 1)
    print(f"{len(linears)} layers, rank {rank}, {choices}: {expected / found - 1:+.2%}")
    assert expected == pytest.approx(found, rel=0.05)


@pytest.mark.parametrize(
    "choices",
    [{"optimizer": "sgd", "momentum": 0.0}, {"optimizer": "sgd", "momentum": 0.9}, {"form": "linear"}],
    ids=["sgd", "sgd with momentum", "linear"],
)
def test_other_steps_and_the_linear_form(choices: Any) -> None:
    of = groups(TINY, 4)
    found, on = measured(of, hidden=8, **choices)
    assert on == 1, "a unit that is off is moved by SGD's weight decay, and a linear one is never off"
    assert predicted(of, hidden=8, **choices) == pytest.approx(found, rel=0.05)


def test_frozen_starts_and_learning_rate_ratios_count() -> None:
    plain, more = groups(TINY, 4), groups(TINY, 4, heads=("offset", "zero"), scales=(1.0, 16.0))
    numbers = sum(size.numbers for size in layer_sizes(plain))
    assert predicted(more, hidden=2) - predicted(plain, hidden=2) == 8 * numbers
    found, on = measured(more, hidden=2)
    assert predicted(more, on, hidden=2) == pytest.approx(found, rel=0.05)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_plain_groups_hold_moments_alone(optimizer: str) -> None:
    of = [{"name": "plain", "params": [p for g in groups(TINY, 4) for p in g["params"]], "heads": None}]
    numels = [p.numel() for p in of[0]["params"]]
    assert layer_sizes(of) == []
    found, _ = measured(of, optimizer=optimizer, momentum=0.9)
    assert plain_moment_bytes(numels, optimizer, 0.9) == pytest.approx(found, rel=0.05)
    assert moment_bytes(7, "sgd", 0.0) == 0


def test_rows_are_cut_as_the_engine_cuts_them() -> None:
    size = LayerSize((10, 7))
    assert [size.rows(stage, 4) for stage in (0, 1, 2, 3)] == [17, 6, 6, 3 + 2]
