"""Numbers that are no mean of scores: their value, and a bootstrap that knows how sure they are."""

from __future__ import annotations

import numpy as np
import pytest

from eval_harness.figures import Figure, grouped, mean, measured, ratio
from eval_harness.stats import interval


def test_the_mean_has_the_interval_of_scores():
    scores = np.random.default_rng(0).beta(2, 3, 400).tolist()
    found, wanted = measured(mean(scores), seed=3), interval(scores, seed=3)
    assert found["value"] == pytest.approx(wanted.score) and found["n"] == 400
    assert (found["low"], found["high"]) == (pytest.approx(wanted.low), pytest.approx(wanted.high))


def test_a_ratio_covers_its_truth():
    """Precision of a yes-sayer with a true precision of 0.6: about 95 of 100 intervals hold it."""
    drawing, held = np.random.default_rng(0), 0
    for seed in range(100):
        said = drawing.random(300) < 0.5
        right = said & (drawing.random(300) < 0.6)
        found = measured(ratio(zip(right, said, strict=True)), seed)
        held += found["low"] <= 0.6 <= found["high"]
    assert held >= 88


def test_a_number_that_does_not_exist_is_none():
    found = measured(ratio([(0, 0)] * 5))
    assert (found["value"], found["low"], found["high"], found["n"]) == (None, None, None, 5)
    some = measured(ratio([(1, 1)] + [(0, 0)] * 5))  # most resamples hold it, some do not
    assert (some["value"], some["low"], some["high"]) == (1.0, 1.0, 1.0)
    assert measured(Figure(np.zeros((0, 2)), lambda sums: sums[..., 0]))["value"] is None


def test_units_are_drawn_as_a_whole():
    """Four rows of one picture that are all right or all wrong together say less than four pictures do."""
    right = [1, 0] * 50
    alone = measured(ratio([(one, 1) for one in right for _ in range(4)]))
    together = measured(ratio([(4 * one, 4) for one in right]))
    assert alone["value"] == together["value"] == 0.5
    assert together["high"] - together["low"] > 1.8 * (alone["high"] - alone["low"])


def test_rows_of_a_group_agree_up_to_the_last_slash():
    rows = [{"id": name} for name in ("mme/art/a.jpg/0", "mme/art/b.jpg/0", "mme/art/a.jpg/1")]
    assert {name: len(some) for name, some in grouped(rows).items()} == {"mme/art/a.jpg": 2, "mme/art/b.jpg": 1}
