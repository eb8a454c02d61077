"""The charts' geometry stays in its box and shows the numbers that were measured."""

from __future__ import annotations

import math
import re

import pytest
from fake_result import fake_result

from eval_harness.charts import loss_curve, score_groups, score_table, smoothed


def log(losses):
    return [{"step": step, "loss": loss, "learning_rate": 1e-3} for step, loss in enumerate(losses, start=1)]


def test_groups_hold_every_run_and_the_highest_control_bound():
    groups = score_groups(fake_result()["scores"])
    assert [group.name for group in groups] == ["overall", "yes/no", "open"]
    assert {len(group.bars) for group in groups} == {5}
    controls = [bar for bar in groups[2].bars if bar.kind == "control"]
    assert groups[2].threshold == max(bar.high for bar in controls)
    assert [[bar.score for bar in row["cells"]] for row in score_table(groups)][1] == [0.948, 0.954, 0.942]


@pytest.mark.parametrize("losses", [[1.0, 1.0], [9.0, 0.01], [0.0, 0.0], [2e-5, 3e-5], [1e3, 1e-3, 5], [0.3] * 2000])
def test_curve_stays_in_its_box(losses):
    curve = loss_curve(log(losses))
    numbers = [float(text) for text in re.findall(r"-?[\d.]+", curve.raw + curve.smooth + curve.rate)]
    assert all(-0.01 <= number <= 1000.01 for number in numbers)
    assert all(-0.01 <= place <= 100.01 for place, _ in [*curve.x_ticks, *curve.y_ticks])
    assert 2 <= len(curve.y_ticks) <= 14
    assert len(curve.points) <= 601


def test_curve_passes_over_what_is_not_a_number():
    curve = loss_curve([*log([1.0, math.nan, 0.5]), {"step": 3, "eval_loss": 0.7}, {"train_runtime": 9.0}])
    assert [point[0] for point in curve.points] == [1, 3]
    assert len(curve.held_out) == 1


@pytest.mark.parametrize("short", [[], [{"step": 1, "loss": 2.0}], [{"step": 1, "eval_loss": 2.0}]])
def test_no_curve_from_less_than_two_losses(short):
    assert loss_curve(short) is None


def test_smoothing_has_no_bias_at_the_start():
    assert smoothed([3.0] * 50, 10) == pytest.approx([3.0] * 50)
    assert smoothed([1.0, 2.0], 1) == [1.0, 2.0]
