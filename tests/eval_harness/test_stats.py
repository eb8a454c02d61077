"""The mean's interval: seeded, right at the ends, and as wide as it says."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval_harness.stats import interval, wilson


@given(scores=st.lists(st.sampled_from([0.0, 0.3, 0.6, 0.9, 1.0]), min_size=1, max_size=60), seed=st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_interval_holds_the_mean_and_is_seeded(scores, seed):
    found = interval(scores, seed)
    assert 0 <= found.low <= found.score <= found.high <= 1
    assert found.score == pytest.approx(np.mean(scores)) and found.n == len(scores)
    assert interval(scores, seed) == found


def test_all_wrong_and_all_right_still_leave_doubt():
    wrong, right = interval([0.0] * 500), interval([1] * 500)
    assert (wrong.score, wrong.low) == (0, 0) and wrong.high == pytest.approx(0.00762, abs=1e-5)
    assert (right.score, right.high) == (1, 1) and right.low == pytest.approx(0.99238, abs=1e-5)


def test_more_right_answers_never_lower_a_bound():
    found = [interval([1.0] * right + [0.0] * (100 - right)) for right in range(101)]
    assert all(a.low <= b.low and a.high <= b.high for a, b in pairwise(found))


def test_agrees_with_resampling_one_by_one():
    scores = np.random.default_rng(0).choice([0, 1 / 3, 2 / 3, 1], size=300)
    draws = np.random.default_rng(1).choice(scores, size=(4000, 300)).mean(axis=1)
    found = interval(scores.tolist())
    np.testing.assert_allclose([found.low, found.high], np.percentile(draws, [2.5, 97.5]), atol=0.004)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.9])
def test_covers_the_truth_about_95_times_of_100(share):
    draws = np.random.default_rng(0).random((300, 400)) < share
    found = [interval(row.astype(float).tolist()) for row in draws]
    assert 0.92 <= np.mean([bounds.low <= share <= bounds.high for bounds in found]) <= 1


def test_wilson_s_own_figures():
    low, high = wilson(0.2, 10)  # Wilson 1927's formula, by hand
    assert (low, high) == (pytest.approx(0.05668, abs=1e-5), pytest.approx(0.50984, abs=1e-5))


@pytest.mark.parametrize("scores", [[], [-0.1, 0.5]])
def test_impossible_scores_are_refused(scores):
    with pytest.raises(ValueError, match="none of them below 0"):
        interval(scores)
