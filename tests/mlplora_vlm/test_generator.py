"""The generator's mathematics against autograd, and the paper's start."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlplora_vlm.generator import (
    TRAINED,
    AutogradGenerator,
    generate,
    generator_gradients,
    hidden_gradient,
    keep,
    new_generator,
    squared_gradient_norm,
)

LORA = ("drawn", "zero")


@settings(max_examples=60, deadline=None)
@given(
    a=st.integers(1, 60),
    b=st.integers(1, 60),
    hidden=st.integers(1, 9),
    z_dim=st.integers(1, 9),
    seed=st.integers(0, 99),
    relu=st.booleans(),
    extras=st.booleans(),
)
def test_hand_made_gradients_and_their_norm_equal_autograd(a, b, hidden, z_dim, seed, relu, extras):
    random = torch.Generator().manual_seed(seed)
    start = new_generator("layer", [a, b], LORA, hidden, z_dim, 0.1, seed)
    start = {name: t + 0.3 * torch.randn(t.shape, generator=random) for name, t in start.items()}
    if extras:
        start["anchor"] = torch.randn(a + b, generator=random)
    oracle = AutogradGenerator(start, [torch.Size([a]), torch.Size([b])], relu)
    P = torch.cat(oracle())
    torch.testing.assert_close(generate(start, relu), P.detach())
    g = torch.randn(a + b, generator=random)
    P.backward(g)
    dh = hidden_gradient(start, g)
    wanted = {name: p.grad for name, p in oracle.named_parameters()}
    wanted |= {name: torch.cat([wanted.pop(f"{name}.0"), wanted.pop(f"{name}.1")]) for name in ("W2", "b2")}
    gradients = generator_gradients(start, g, dh, relu)
    assert gradients.keys() == wanted.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-4, atol=1e-5, msg=name)
    norm = squared_gradient_norm(start, g.square().sum(), dh, relu).sqrt()
    wanted = torch.nn.utils.clip_grad_norm_(oracle.parameters(), 1.0)
    torch.testing.assert_close(norm, wanted, rtol=1e-4, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 99), relu=st.booleans(), scaled=st.booleans())
def test_any_start_can_be_kept(seed, relu, scaled):
    g = new_generator("layer", [20, 30], LORA, 8, 16, 0.1, seed)
    if scaled:
        g["scale"] = torch.full((50,), 16.0)
    P0 = torch.randn(50, generator=torch.Generator().manual_seed(seed))
    keep(g, P0, relu)
    torch.testing.assert_close(generate(g, relu), P0, rtol=0, atol=1e-6)


def test_adapter_starts_as_the_identity_with_kaiming_rows():
    g = new_generator("layer", [6000, 4000], LORA, 32, 128, 0.1, 0)
    P = generate(g)
    assert P[:6000].any() and not P[6000:].any(), "A is random, B is 0"
    assert not g["c1"].any() and not g["b2"].any() and not g["W2"][6000:].any()
    assert g["z"].std().item() == pytest.approx(0.1, rel=0.2)
    assert set(g) == set(TRAINED)
    assert g["W2"][:6000].abs().max().item() == pytest.approx(32**-0.5, rel=0.01), "uniform in ±1/√hidden"


def test_start_hangs_on_name_and_seed_alone():
    first = new_generator("layers.0", [5, 7], LORA, 3, 4, 0.1, 1)
    torch.manual_seed(123)
    again, other, reseeded = (
        new_generator(name, [5, 7], LORA, 3, 4, 0.1, seed)
        for name, seed in (("layers.0", 1), ("layers.1", 1), ("layers.0", 2))
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["W1"], other["W1"]) and not torch.equal(first["W1"], reseeded["W1"])
