"""The generator's mathematics against autograd, and the paper's start."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlplora_vlm.generator import AutogradGenerator, generate, generator_gradients, hidden_gradient, new_generator


@settings(max_examples=40, deadline=None)
@given(
    a=st.integers(1, 60),
    b=st.integers(1, 60),
    hidden=st.integers(1, 9),
    z_dim=st.integers(1, 9),
    seed=st.integers(0, 99),
)
def test_hand_made_gradients_equal_autograd(a, b, hidden, z_dim, seed):
    start = new_generator("layer", [a, b], hidden, z_dim, 0.1, seed)
    start = {
        name: t + 0.3 * torch.randn(t.shape, generator=torch.Generator().manual_seed(seed)) for name, t in start.items()
    }
    oracle = AutogradGenerator(start, [torch.Size([a]), torch.Size([b])])
    P = torch.cat(oracle())
    torch.testing.assert_close(generate(start), P.detach())
    g = torch.randn(a + b, generator=torch.Generator().manual_seed(seed + 1))
    P.backward(g)
    for name, gradient in generator_gradients(start, g, hidden_gradient(start, g)).items():
        torch.testing.assert_close(gradient, getattr(oracle, name).grad, rtol=1e-4, atol=1e-6, msg=name)


def test_adapter_starts_as_the_identity_with_kaiming_rows():
    g = new_generator("layer", [6000, 4000], 32, 128, 0.1, 0)
    P = generate(g)
    assert P[:6000].any() and not P[6000:].any(), "A is random, B is 0"
    assert not g["c1"].any() and not g["b2"].any() and not g["W2"][6000:].any()
    assert g["z"].std().item() == pytest.approx(0.1, rel=0.2)
    assert g["W2"][:6000].abs().max().item() == pytest.approx(32**-0.5, rel=0.01), "uniform in ±1/√hidden"


def test_start_hangs_on_name_and_seed_alone():
    first = new_generator("layers.0", [5, 7], 3, 4, 0.1, 1)
    torch.manual_seed(123)
    again, other, reseeded = (
        new_generator(name, [5, 7], 3, 4, 0.1, seed)
        for name, seed in (("layers.0", 1), ("layers.1", 1), ("layers.0", 2))
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["W1"], other["W1"]) and not torch.equal(first["W1"], reseeded["W1"])
