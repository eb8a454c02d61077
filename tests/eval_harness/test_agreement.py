"""Answers of a merged model against the tuned one's: equal, different, explained by rounding or not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny_llava import build_model, build_processor

from data_prep.sources import shapes
from eval_harness.agreement import agreement, agrees, chance, first_margin
from eval_harness.generate import answers, in_order
from eval_harness.metrics import Metric

EXACT = Metric("exact_match")


@pytest.fixture(scope="module")
def world():
    processor = build_processor()
    examples = list(shapes.rows("test"))[:6]
    tuned = build_model(processor, seed=0)
    said = in_order(answers(tuned, processor, examples, "short_answer", 5, 4, progress=False), len(examples))
    examples = [replace(row, references=(text,)) for row, text in zip(examples, said, strict=True)]
    return processor, examples, tuned, said


def compare(world, merged, logit_error):
    processor, examples, tuned, said = world
    return agreement(merged, lambda: tuned, processor, examples, said, "short_answer", 5, 3, logit_error, EXACT)


def test_the_same_weights_give_the_same_answers(world):
    found = compare(world, build_model(world[0], seed=0), 1e-6)
    assert (found["n"], found["different"], found["rows"]) == (6, 0, [])
    assert found["score"] == {"value": 0.0, "low": 0.0, "high": 0.0, "n": 6, "share": True}
    assert agrees(found) and found["near_ties"] is None


def test_another_model_is_seen_and_not_explained(world):
    found = compare(world, build_model(world[0], seed=1), 1e-6)
    assert found["different"] > 0 and found["explained"] == 0
    assert not agrees(found)
    assert found["score"]["value"] <= 0  # the references are what the tuned model says
    assert {"id", "tuned", "merged", "margin", "explained"} == set(found["rows"][0])


def test_margin_is_that_of_the_first_token_that_differs(world):
    processor, examples, tuned, said = world
    other = build_model(processor, seed=1)
    theirs = answers(other, processor, examples, "short_answer", 5, 4, progress=False)
    number = next(number for number, text in theirs if text != said[number])
    margin = first_margin(tuned, other, processor, examples[number], "short_answer", 5)
    assert 0 < margin < 10
    assert first_margin(tuned, tuned, processor, examples[number], "short_answer", 5) == 0.0


def verdict(different, explained, ties):
    return agrees({"different": different, "explained": explained, "chance": chance(explained, ties)})


@pytest.mark.parametrize(
    ("n", "near", "explained", "passes"),
    [
        (1, 0, 0, True),
        (1, 1, 1, True),
        (4, 1, 1, True),
        (4, 4, 4, True),
        (128, 10, 9, True),
        (128, 10, 10, False),
        (128, 128, 64, True),
        (128, 128, 128, False),
        (5000, 40, 1, True),
        (5000, 200, 100, True),
        (5000, 200, 130, False),
        (5000, 5000, 2600, True),
        (5000, 5000, 2800, False),
    ],
)
def test_explained_differences_fail_only_where_rounding_would_hardly_cause_so_many(n, near, explained, passes):
    ties = [1] * near + [0] * (n - near)
    assert verdict(explained, explained, ties) == passes
    assert not verdict(explained + 1, explained, ties), "one that is not explained fails at every size"


def test_the_chance_is_what_flipping_coins_gives():
    """Each near tie is a coin; an answer changes where one of its coins shows heads."""
    random = np.random.default_rng(0)
    ties = [0, 1, 1, 2, 3, 1, 0, 2]
    changed = sum((random.random((100_000, count)) < 0.5).any(axis=1).astype(int) for count in ties)
    for flips in range(9):
        assert chance(flips, ties) == pytest.approx((changed >= flips).mean(), abs=0.01), flips
    assert chance(0, []) == 1.0 and chance(1, []) == chance(7, ties) == 0.0


def test_rounding_explains_a_difference_at_a_near_tie(world):
    """For so large an error every token is a near tie, so each answer of another model is explained."""
    found = compare(world, build_model(world[0], seed=1), 1e9)
    assert found["explained"] == found["different"] > 0 and found["near_ties"] == 6
    assert found["chance"] > 0.1 and agrees(found)
