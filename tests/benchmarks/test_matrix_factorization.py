"""The batched runs are the product's own optimizer, many learning rates at a time."""

from __future__ import annotations

import pytest
import torch

from benchmarks import matrix_factorization as benchmark
from mlplora_vlm.files import read_json
from mlplora_vlm.optimizer import GeneratedAdapterOptimizer

SETTINGS = {"steps": 20, "warmup": 5, "every": 5}


def by_the_product(lr, seed, form="exact", hidden=32, start="paper", **options):
    """Loss over the SVD's after 20 steps of `GeneratedAdapterOptimizer`, one learning rate."""
    M, floor = benchmark.problem(seed)
    P = {name: benchmark.start(name, seed).requires_grad_() for name in "AB"}
    groups = [{"name": name, "params": [p], "heads": ("drawn",)} for name, p in P.items()]
    optimizer = GeneratedAdapterOptimizer(
        groups, lr=lr, form=form, hidden=hidden, start=start, seed=seed, **options
    )  # fmt: skip

    def loss():
        A, B = benchmark.shaped(P["A"], P["B"])
        return (M - B @ A).square().sum()

    for t in range(SETTINGS["steps"]):
        for group in optimizer.param_groups:
            group["lr"] = lr * benchmark.schedule(t, SETTINGS)
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()
    return (loss() / floor).item()


@pytest.mark.parametrize(
    "optimizer, method, options",
    [
        ("Adam", "OP, hidden 32", {}),
        ("Adam", "OP, hidden 4", {"hidden": 4, "start": "keep"}),
        ("Adam", "OP linear, hidden 32", {"form": "linear", "start": "keep"}),
        ("momentum", "OP, hidden 32", {"optimizer": "sgd", "momentum": 0.9}),
        ("SGD", "OP, hidden 32", {"optimizer": "sgd"}),
    ],
)
def test_batched_run_is_the_product(optimizer, method, options):
    rates, seed = ([1e-3, 1e-2] if optimizer == "Adam" else [1e-5, 1e-4]), 3
    batched = benchmark.run(optimizer, method, rates, seed, SETTINGS)[:, -1].tolist()
    for lr, found in zip(rates, batched, strict=True):
        assert found == pytest.approx(by_the_product(lr, seed, **options), rel=1e-5)


@pytest.mark.parametrize("method", benchmark.METHODS)
def test_learning_rates_of_a_batch_do_not_touch_each_other(method):
    alone = benchmark.run("Adam", method, [1e-2], 0, SETTINGS)
    beside = benchmark.run("Adam", method, [1e-2, 1e30], 0, SETTINGS)
    assert torch.allclose(alone[0], beside[0], rtol=1e-5)


def test_all_methods_start_at_the_same_place_but_the_larger_start():
    first = {m: benchmark.run("Adam", m, [1e-3], 1, SETTINGS)[0, 0].item() for m in benchmark.METHODS}
    larger = first.pop("plain, start × 10")
    assert (
        all(value == pytest.approx(first["plain"], rel=1e-6) for value in first.values()) and larger != first["plain"]
    )


def test_no_run_gets_below_the_truncated_svd():
    settings = SETTINGS | {"steps": 300}
    assert (benchmark.run("Adam", "plain", [1e-2, 1e-1], 0, settings) > 1 - 1e-5).all()


def test_quick_run_makes_result_plot_and_table(tmp_path):
    assert benchmark.main(["--quick", "--out", str(tmp_path)]) == 0
    result = read_json(tmp_path / "matrix_factorization.json")
    assert set(result["optimizers"]) == {"Adam", "momentum", "SGD"}
    assert (tmp_path / "matrix_factorization.png").stat().st_size > 10_000
    table = benchmark.table(result)
    assert all(f"| {name} |" in table for name in benchmark.QUICK["methods"]) and "OP is lower than plain" in table
