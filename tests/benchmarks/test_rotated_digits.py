"""Rotated digits and the compact form's trial: quick runs, resuming, and the rule."""

from __future__ import annotations

import pytest
import torch

from benchmarks import compact_trial, rotated_digits
from mlplora_vlm.files import read_json

SETTINGS = rotated_digits.QUICK


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    monkeypatch.setattr(rotated_digits, "SCRATCH", tmp_path / "scratch")
    return tmp_path


@pytest.mark.parametrize("method", rotated_digits.METHODS)
def test_every_method_learns(method):
    settings = SETTINGS | {"steps": 60, "warmup": 5}
    rank = rotated_digits.METHODS[method].ranks[-1]
    before = rotated_digits.cell(method, rank, 1e-9, 0, settings)
    after = rotated_digits.cell(method, rank, 1e-2, 0, settings)
    assert after["loss"] < 0.75 * before["loss"] and after["accuracy"] > before["accuracy"]


def test_adapters_start_as_the_identity():
    inputs = rotated_digits.turned()[0]
    wanted = rotated_digits.network()(inputs)
    for name, method in rotated_digits.METHODS.items():
        model, _ = rotated_digits.attached(method, 4, 1e-3, 0)
        assert torch.allclose(model(inputs), wanted, atol=2e-4), name


def test_seed_and_nothing_else_sets_a_cell():
    one, two, other = (rotated_digits.cell("OP-LoRA", 1, 1e-2, seed, SETTINGS) for seed in (0, 0, 1))
    assert one == two != other


def test_shares_of_units_add_up():
    units = rotated_digits.cell("OP-LoRA", 1, 1e-1, 0, SETTINGS | {"steps": 30})["units"]
    assert units["off_at_end"] == pytest.approx(
        units["off_at_start"] - units["woke_up"] + units["fell_asleep"], abs=2e-4
    )
    assert units["never_on"] <= min(units["off_at_start"], units["off_at_end"])


def test_diverged_run_has_no_value():
    assert rotated_digits.cell("OP-LoRA", 4, 1e30, 0, SETTINGS)["loss"] is None
    assert rotated_digits.cell("LoRA", 4, 1e30, 0, SETTINGS)["loss"] is None


@pytest.mark.slow
def test_quick_run_makes_result_plot_and_table_and_resumes(scratch, monkeypatch):
    assert rotated_digits.main(["--quick", "--out", str(scratch)]) == 0
    result = read_json(scratch / "rotated_digits.json")
    table = rotated_digits.table(result)
    assert all(f"| {name} |" in table for name, m in rotated_digits.METHODS.items() if 1 in m.ranks)
    assert (scratch / "rotated_digits.png").stat().st_size > 10_000
    monkeypatch.setattr(rotated_digits, "cell", lambda *_: pytest.fail("a finished cell was run again"))
    assert rotated_digits.main(["--quick", "--out", str(scratch)]) == 0
    assert read_json(scratch / "rotated_digits.json")["ranks"] == result["ranks"]


def test_compact_stays_near_exact_adamw_at_a_small_rate():
    found = compact_trial.distances(1, 1e-4, 0, compact_trial.FULL | {"steps": 12, "warmup": 2, "at": (12,)})
    assert found["compact"][0] < 0.2 and found["exact, W2 drawn"][0] > 0


def summary(best_lr, width):
    return {"best_lr": best_lr, "mean": 1.0, "width": width, "wider": False}


@pytest.mark.parametrize(
    "mine, theirs, gain, better, wider",
    [
        ([1.0, 1.1, 1.2], [2.0, 2.1, 2.2], 0.0, True, False),
        ([1.0, 1.1, 1.2], [1.1, 1.0, 1.2], 0.4, False, True),
        ([1.0, 1.1, 1.2], [1.1, 1.0, 1.2], 0.2, False, False),
        ([2.0, 2.1, 2.2], [1.0, 1.1, 1.2], 0.4, False, False),
    ],
)
def test_rule(mine, theirs, gain, better, wider):
    methods = {"me": (summary(1e-2, 1 + gain), {"0.01": mine}), "other": (summary(0.1, 1.0), {"0.1": theirs})}
    row = compact_trial.against("me", ["other"], methods)["other"]
    assert (row["better"], row["wider"]) == (better, wider)


def test_trial_makes_result_plot_and_table(tmp_path):
    assert compact_trial.main(["--quick", "--out", str(tmp_path)]) == 0
    table = compact_trial.table(read_json(tmp_path / "compact_trial.json"))
    assert "By the rule the compact form is **not kept**" in table and "exact, W2 drawn" in table
    assert (tmp_path / "compact_trial.png").stat().st_size > 10_000


def test_it_is_kept_only_where_it_wins_in_every_setting():
    def found(name, controls, mine):
        return {name: (summary(1e-2, 1.0), {"0.01": mine})} | {
            control: (summary(1e-2, 1.0), {"0.01": [2.0, 2.1, 2.3]}) for control in controls
        }

    def verdict(factorization, digits):
        adam = found(*compact_trial.NAMES["matrix_factorization"], factorization)
        rank = found(*compact_trial.NAMES["rotated_digits"], digits)
        return compact_trial.verdict(
            {"optimizers": {"Adam": {"methods": {n: {"summary": s, "final": v} for n, (s, v) in adam.items()}}}},
            {"ranks": {"1": {"methods": {n: {"loss": s, "cells": {"loss": v}} for n, (s, v) in rank.items()}}}},
        )["kept"]

    better, same = [1.0, 1.1, 1.2], [2.0, 2.1, 2.3]
    assert verdict(better, better) and not verdict(better, same) and not verdict(same, better)
