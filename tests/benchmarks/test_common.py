"""Intervals, widths and summaries on curves whose answers are known; cells that survive an interruption."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import common
from eval_harness import lr_curve


def test_grid_is_even_and_reaches_both_ends():
    assert lr_curve.learning_rates(1e-3, 1e-2) == [1e-3, 2.2e-3, 4.6e-3, 1e-2]
    rates = lr_curve.learning_rates(1e-4, 0.46)
    assert rates[0] == 1e-4 and rates[-1] == 0.46 and len(rates) == 12


def test_interval_is_students():
    # mean 3, standard deviation √2.5, t(0.975, 4) = 2.7764
    half = 2.7764451 * math.sqrt(2.5 / 5)
    assert lr_curve.mean_interval([1, 2, 3, 4, 5]) == pytest.approx((3, 3 - half, 3 + half), rel=1e-6)
    assert lr_curve.mean_interval([2.0]) == (2, 2, 2)


@given(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=8), st.floats(-10, 10))
def test_paired_difference_sees_through_what_seeds_share(values, shift):
    found = lr_curve.difference([v + shift for v in values], values)
    assert found == pytest.approx((shift, shift, shift), abs=1e-6)


def test_summary_of_a_valley():
    # log10(loss) = |log10(lr) + 2|: within 5 % of the best for log10(1.05) decades on either side
    curve = {rate: [10 ** abs(math.log10(rate) + 2)] * 3 for rate in (1e-4, 1e-3, 1e-2, 1e-1, 1.0)}
    found = lr_curve.summarise(curve)
    assert (found["best_lr"], found["mean"], found["interior"], found["wider"]) == (1e-2, 1.0, True, False)
    assert found["width"] == pytest.approx(2 * math.log10(1.05), abs=1e-3)


def test_summary_turned_upside_down_finds_the_highest():
    found = lr_curve.summarise({1e-3: [0.5, 0.6], 1e-2: [0.9, 0.9], 1e-1: [0.88, 0.88]}, lower_is_better=False)
    assert found["best_lr"] == 1e-2 and found["wider"] and not found["width"] < 1


def test_rate_at_which_a_seed_diverged_is_never_the_best():
    found = lr_curve.summarise({1e-3: [2.0, 2.0], 1e-2: [1.0, 1.0], 1e-1: [0.1, None]})
    assert (found["best_lr"], found["mean"], found["wider"]) == (1e-2, 1.0, False)
    with pytest.raises(ValueError, match="diverged"):
        lr_curve.summarise({1e-3: [None]})


def test_best_at_the_end_of_the_grid_is_told():
    found = lr_curve.summarise({1e-3: [3.0], 1e-2: [2.0], 1e-1: [1.0]})
    assert not found["interior"] and found["wider"]


@given(st.lists(st.floats(0.1, 10), min_size=3, max_size=12))
def test_width_is_within_the_grid_and_grows_with_what_is_asked_of_it(means):
    rates = [10.0**-i for i in range(len(means))][::-1]
    narrow, _ = lr_curve.width(rates, means)
    wide, _ = lr_curve.width(rates, means, best=2 * min(means))
    assert 0 <= narrow <= wide <= len(means) - 1 + 1e-9
    assert lr_curve.width(rates, means, best=0.5 * min(means)) == (0.0, False)


def test_width_counts_only_the_range_around_the_best():
    rates = [1e-4, 1e-3, 1e-2, 1e-1]
    assert lr_curve.width(rates, [1.01, math.inf, 1.0, math.inf]) == (0.0, False)


def test_finished_cells_are_found_again_after_a_broken_line(tmp_path):
    path = tmp_path / "cells.jsonl"
    common.Cells(path)[{"lr": 1e-3, "seed": 0}] = [1.0, None]
    path.write_text(path.read_text() + '{"key": {"lr"')
    cells = common.Cells(path)
    assert cells[{"seed": 0, "lr": 1e-3}] == [1.0, None] and {"lr": 1e-2, "seed": 0} not in cells
    cells[{"lr": 1e-2, "seed": 0}] = 5
    assert common.Cells(path)[{"lr": 1e-2, "seed": 0}] == 5


def test_result_holds_what_it_was_measured_on(tmp_path):
    result = common.write_result("x", {"steps": 3}, {"loss": 0.5}, tmp_path)
    assert (result["settings"], result["loss"]) == ({"steps": 3}, 0.5)
    assert set(result["environment"]) == {"date", "commit", "device", "threads", "versions"}
    assert (tmp_path / "x.json").exists()
