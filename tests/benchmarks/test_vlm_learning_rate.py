"""The sweep's benchmark: a quick run to its table, and the size of the control that needs no run."""

from __future__ import annotations

import math

import pytest

from benchmarks import vlm_learning_rate
from mlplora_vlm.files import read_json
from recipes.sweep.grid import load_grid, parse_rates


def test_the_grid_is_three_points_a_decade_over_two_decades():
    full = vlm_learning_rate.FULL
    rates = parse_rates(full["lr"])
    cells = load_grid(vlm_learning_rate.RECIPE, "demo", full["overrides"], full["kinds"], rates, full["seeds"])
    assert len(rates) == 7 and len({cell.name for cell in cells}) == len(cells) == 84
    assert {cell.recipe.adapter.rank for cell in cells} == {8}


def test_start_gain_is_the_papers_start():
    found = vlm_learning_rate.start_gain({"hidden": 32, "z_dim": 128, "z_std": 0.1})
    # W1·z has the deviation 0.1/√3 (Kaiming-uniform: rows of variance 1/(3·128)), and relu halves a normal's mean |x|
    assert found["mean"] == pytest.approx(1 + 32 * 0.1 / math.sqrt(3) / math.sqrt(2 * math.pi), rel=0.02)


@pytest.mark.slow
def test_quick_run_goes_on_and_makes_a_table(tmp_path, monkeypatch):
    monkeypatch.setattr(vlm_learning_rate, "SCRATCH", tmp_path / "scratch")
    for _ in range(2):
        assert vlm_learning_rate.main(["--quick", "--out", str(tmp_path)]) == 0
    result = read_json(tmp_path / "vlm_learning_rate.json")
    assert result["cells"] == {"finished": 4, "all": 4} and (tmp_path / "vlm_learning_rate.png").stat().st_size > 1000
    text = vlm_learning_rate.table(result)
    assert "| op-lora |" in text and "4 of 4 trainings" in text and "Lowest held-out loss" in text
    assert "LoRA with its learning rate times 1 + Σh₀ (1." in text
