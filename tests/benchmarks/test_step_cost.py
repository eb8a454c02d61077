"""The byte counter counts right, and a quick run gives a whole result whose table and plot can be made."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from benchmarks import step_cost
from benchmarks.live_bytes import allocated, living, watched


def test_live_bytes_are_known_by_kind() -> None:
    weight = nn.Parameter(torch.randn(100, 200))
    x = torch.randn(50, 200)
    with watched({"parameters": [weight], "inputs": [x]}, [weight]) as live:
        middle = x @ weight.T  # (50, 100): relu saves its result, not this
        out = middle.relu()
        del middle
        assert live.now["activations"] == out.nbytes
        out.sum().backward()
        del out
    assert live.now["parameters"] == weight.nbytes and live.now["inputs"] == x.nbytes
    assert weight.grad is not None and live.now["gradients"] == weight.grad.nbytes
    assert live.now["activations"] == 0


def test_freed_and_shared_storages_count_once() -> None:
    with watched({}, []) as live:
        first = torch.zeros(1000)
        views = [first.view(10, 100), first[3:], first.add_(1)]
        assert sum(live.now.values()) == 4000
        del first, views
        assert sum(live.now.values()) == 0
    assert sum(live.peak.values()) == 4000


def test_the_peak_is_the_allocators() -> None:
    """An allocator's log and the tracker agree on a whole step of a small network."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 64), nn.LayerNorm(64))
    x, optimizer = torch.randn(128, 64), torch.optim.AdamW(model.parameters(), fused=True)

    def step() -> None:
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    moments = [value for state in optimizer.state.values() for value in state.values()]
    with watched({"parameters": model.parameters(), "inputs": [x], "states": moments}, model.parameters()) as live:
        begin = sum(live.now.values())
        step()
    assert begin < sum(live.peak.values()) == pytest.approx(begin + allocated(step), rel=0.01)


def test_living_sees_new_tensors() -> None:
    before = set(living())
    kept = torch.zeros(123)
    assert [size for key, (size, _) in living().items() if key not in before] == [kept.nbytes]


@pytest.mark.slow
def test_a_quick_run_gives_a_whole_result(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(step_cost, "SCRATCH", tmp_path)
    assert step_cost.main(["--quick", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "step_cost.png").stat().st_size > 10_000
    result = json.loads((tmp_path / "step_cost.json").read_text())
    (block,) = result["blocks"]
    methods = block["methods"]
    assert tuple(methods) == step_cost.METHODS and block["left_out"] == {}
    for method, row in methods.items():
        assert abs(row["error"]) < 0.05, method
        assert row["total"] <= row["allocator"] < 1.5 * row["total"], method
    assert methods["LoRA"]["ratio"]["median"] == 1
    # what the paper's way adds: gradients of W2 for all layers at once; the optimizer's way has one layer's at a time
    assert 5 * methods["exact"]["peak"]["gradients"] < methods["autograd"]["peak"]["gradients"]
    assert methods["exact"]["total"] < methods["autograd"]["total"]
    assert methods["exact, 8-bit states"]["states"] < methods["exact"]["states"]
    table = step_cost.table(result)
    assert all(method in table for method in step_cost.METHODS)
