"""The metrics against hand-computed cases of their definitions."""

from __future__ import annotations

import importlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.prompts import PROMPTS
from data_prep.sources import open_source
from eval_harness.metrics import METRICS, Metric, exact_match, vqa_accuracy
from eval_harness.tasks import TASKS
from mlplora_vlm.errors import MendableError


def annotators(**counts):
    """Ten answers such as cat=3, dog=7."""
    return [answer for answer, count in counts.items() for _ in range(count)]


@pytest.mark.parametrize(
    ("prediction", "right"),
    [
        ("red", True),
        (" Red. ", True),
        ("RED .", True),
        ("red..", False),
        ("a red", False),
        ("", False),
        (".red", False),
    ],
)
def test_exact_match(prediction, right):
    assert exact_match.score(prediction, ["red"]) == right


def test_exact_match_takes_any_reference():
    assert exact_match.score("Two", ["2", "two."]) == 1.0


@pytest.mark.parametrize("matches", range(11))
def test_vqa_accuracy_leaves_each_annotator_out_in_turn(matches):
    """The c who said it see c - 1 others, the rest see c: (c·min(1, (c-1)/3) + (10-c)·min(1, c/3)) / 10."""
    expected = (matches * min(1, max(0, matches - 1) / 3) + (10 - matches) * min(1, matches / 3)) / 10
    assert vqa_accuracy.score("cat", annotators(cat=matches, dog=10 - matches)) == pytest.approx(expected)


def test_vqa_accuracy_of_two_and_three_matches():
    assert vqa_accuracy.score("cat", annotators(cat=2, dog=8)) == pytest.approx(0.6)
    assert vqa_accuracy.score("cat", annotators(cat=3, dog=7)) == pytest.approx(0.9)
    assert vqa_accuracy.score("cat", annotators(cat=4, dog=6)) == 1.0


@pytest.mark.parametrize(
    ("prediction", "normal"),
    [
        ("The cat", "cat"),
        ("An apple, a pear.", "apple pear"),
        ("none", "0"),
        ("Ten", "10"),
        ("eleven", "eleven"),
        ("dont", "don't"),
        ("couldnt've", "couldn't've"),
        ("couldn'tve", "couldn't've"),
        ("yall'd've", "y'all'd've"),
        ("somebody'd", "somebodyd"),  # as the official table has it
        ("Im", "im"),  # the official table has "Im" with a capital letter, which no lower-cased word meets
        ("t-shirt", "t shirt"),  # a sign between letters becomes a space
        ("t-shirt, red", "t shirt red"),  # each sign is looked at for itself
        ("red - blue", "red blue"),
        ("1,000", "1000"),  # a comma inside a number goes without a trace …
        ("1,000 t-shirts", "1000 tshirts"),  # … and takes every other sign along
        ("3.5", "3.5"),
        ("U.S.", "us"),
        ("man's", "man's"),
        ("what?!", "what"),
        ("a", ""),
    ],
)
def test_official_normalisation(prediction, normal):
    assert vqa_accuracy.normalise(prediction) == normal


def test_normalised_only_where_annotators_disagree():
    assert vqa_accuracy.score("Yes", ["yes"] * 10) == 0.0
    assert vqa_accuracy.score("Yes", ["yes"] * 9 + ["no"]) == 1.0
    assert vqa_accuracy.score(" yes\n", ["yes"] * 10) == 1.0
    assert vqa_accuracy.score("the cat", ["a cat"] * 5 + ["cat"] * 5) == 1.0


def test_single_answers_are_no_annotations():
    with pytest.raises(MendableError, match="exact_match"):
        vqa_accuracy.score("yes", ["yes"])


@given(prediction=st.text(), references=st.lists(st.text(), min_size=2, max_size=10))
def test_scores_lie_between_0_and_1(prediction, references):
    for module in (exact_match, vqa_accuracy):
        assert 0.0 <= module.score(prediction, references) <= 1.0


def test_every_task_names_what_there_is():
    for name, task in TASKS.items():
        assert {task.split, task.prior_split} - {None} <= set(open_source(task.source).SPLITS), name
        assert task.prompt in PROMPTS, name


def test_only_tasks_by_heart_are_asked_about_what_was_trained_on():
    assert {name for name, task in TASKS.items() if task.split == task.prior_split} == {"shapes_sixteen"}
    assert {name for name, task in TASKS.items() if task.by_heart} == {"shapes_sixteen"}


def test_every_task_names_metrics_and_every_metric_scores():
    named = {name for task in TASKS.values() for name in (task.metric, *task.also)}
    assert named <= set(METRICS)
    assert len(METRICS) > 15 and not [name for name in METRICS if name.startswith("_")]
    for name in METRICS:
        module = importlib.import_module(f"eval_harness.metrics.{name}")
        assert hasattr(module, "score") != hasattr(module, "scores"), name
        assert "Source" in Metric(name).description or "Our own definition" in Metric(name).description, name


def test_an_unknown_metric_is_answered_with_the_nearest():
    with pytest.raises(MendableError, match="did you mean 'cider'"):
        Metric("cidr")
