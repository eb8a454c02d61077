"""The compact generator: what its formula says, and how far it is from exact AdamW."""

from __future__ import annotations

import pytest
import torch

from benchmarks.compact import Adam, CompactLayer, CompactOptimizer
from mlplora_vlm.generator import hidden_units, new_generator
from mlplora_vlm.optimizer import GeneratedAdapterOptimizer


def layer(variant, hidden=8, k=30, seed=0):
    g = new_generator("x", [], [], hidden, 16, 0.1, seed)
    return CompactLayer(g["z"], g["W1"], g["c1"], k, variant)


def gradients(steps, *shape):
    random = torch.Generator().manual_seed(0)
    drift = torch.randn(*shape, generator=random)
    return [drift + 0.5 * torch.randn(*shape, generator=random) for _ in range(steps)]


def test_direction_is_adams():
    p = torch.nn.Parameter(torch.zeros(7))
    reference, mine, at = torch.optim.Adam([p], lr=0.1), Adam(torch.zeros(7)), torch.zeros(7)
    for grad in gradients(10, 7):
        p.grad = grad
        reference.step()
        at = at - 0.1 * mine.direction(grad)
    assert torch.allclose(p, at, rtol=1e-5)


def test_scaled_is_adam_with_a_larger_rate():
    fed, moved, at = layer("scaled"), torch.zeros(30), torch.zeros(30)
    gain, adam = 1 + fed.hidden().sum(), Adam(torch.zeros(30))
    for grad in gradients(10, 30):
        moved += fed.step(grad, 0.01)
        at = at - 0.01 * gain * adam.direction(grad)
    assert gain > 1 and torch.allclose(moved, at, rtol=1e-4, atol=1e-6)


def test_gain_follows_its_formula():
    """P = P0 + s·U with both stepped by Adam, by autograd."""
    fed, moved = layer("gain"), torch.zeros(30)
    U, s = torch.zeros(30, requires_grad=True), fed.s.clone().requires_grad_()
    reference = torch.optim.Adam([U, s], lr=0.01)
    u = Adam(torch.zeros(30))
    for grad in gradients(10, 30):
        moved += fed.step(grad, 0.01)
        # U is stepped by the adapter's own gradient: dP/dU = s would cancel in Adam anyway
        s.grad, U.grad = (U.detach() @ grad)[None], grad
        reference.step()
        u.direction(grad)
    assert torch.allclose(moved, (s * U).detach(), rtol=1e-4, atol=1e-6)


def test_with_a_fixed_active_set_it_is_one_gain_and_the_trunks_gradient_is_autograds():
    fed, moved = layer("compact"), torch.zeros(30)
    on = fed.hidden() > 0
    for grad in gradients(20, 30):
        z, W1, c1 = (t.clone().requires_grad_() for t in (fed.z, fed.W1, fed.c1))
        s = 1 + torch.relu(W1 @ z + c1).sum()
        wanted = torch.autograd.grad((s * fed.U) @ grad, (z, W1, c1)) if fed.U.any() else None
        before = {name: adam.m.clone() for name, adam in fed.adam.items()}
        moved += fed.step(grad, 1e-3)
        if wanted:
            for name, want in zip(("z", "W1", "c1"), wanted, strict=True):
                taken = (fed.adam[name].m - 0.9 * before[name]) / 0.1
                assert torch.allclose(taken, want, rtol=1e-3, atol=1e-5), name
    assert torch.equal(fed.hidden() > 0, on)
    assert torch.allclose(moved, (1 + fed.hidden().sum()) * fed.U, rtol=1e-4, atol=1e-6)


def test_batch_dimension_is_many_layers_side_by_side():
    alone, rates = [layer("compact", seed=i) for i in range(3)], torch.tensor([[1e-3], [1e-2], [1e-1]])
    starts = [new_generator("x", [], [], 8, 16, 0.1, i) for i in range(3)]
    together = CompactLayer(*(torch.stack([g[n] for g in starts]) for n in ("z", "W1", "c1")), 30)
    for grad in gradients(10, 3, 30):
        moved = together.step(grad, rates)
        each = torch.stack([fed.step(grad[i], rates[i].item()) for i, fed in enumerate(alone)])
        assert torch.allclose(moved, each, rtol=1e-4, atol=1e-7)


def test_it_is_near_the_exact_generator_with_w2_zero_and_nearer_than_plain_adam():
    def after(optimizer_of):
        P = torch.zeros(40, requires_grad=True)
        optimizer = optimizer_of([{"name": "x", "params": [P], "heads": ("zero",)}])
        for grad in gradients(50, 40):
            P.grad = grad
            optimizer.step()
        return P.detach()

    exact = after(lambda groups: GeneratedAdapterOptimizer(groups, lr=1e-3, start="keep"))
    compact = after(lambda groups: CompactOptimizer(groups, lr=1e-3))
    plain = after(lambda groups: torch.optim.Adam([p for g in groups for p in g["params"]], lr=1e-3))
    assert (compact - exact).norm() < 0.25 * exact.norm() < 0.5 * (plain - exact).norm()


def test_it_has_the_exact_generators_own_trunk():
    P = torch.zeros(12, requires_grad=True)
    made = CompactOptimizer([{"name": "x", "params": [P], "heads": ("zero",)}], seed=4).layers["x"]
    assert torch.equal(made.hidden(), hidden_units(new_generator("x", [12], ["zero"], 32, 128, 0.1, 4)))


def test_unknown_variant_is_refused():
    with pytest.raises(ValueError, match="compact, gain, scaled"):
        CompactOptimizer([{"name": "x", "params": [torch.zeros(2)]}], variant="tight")
