"""Comparisons: paired figures against scipy, refusals of what is not the same, folders as `evaluate` leaves them."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from scipy import stats

from eval_harness.compare import compare, mcnemar, mismatches, paired_difference
from eval_harness.evaluations import found, model_names
from mlplora_vlm.errors import MendableError


def row(number, score, category="open", prediction=None):
    return {
        "id": f"q{number}",
        "category": category,
        "question": f"question {number}?",
        "references": ["yes"],
        "prediction": prediction or ("yes" if score else "no"),
        "score": score,
    }


def write(folder, scores, ids=None, **keys):
    """An evaluation as `evaluate` leaves it; its numbers are those of ``scores``."""
    ids = range(len(scores)) if ids is None else ids
    rows = [row(n, score, ("open", "yes/no")[n % 2]) for n, score in zip(ids, scores, strict=True)]
    result = {
        "task": "easy_vqa_test",
        "version": 1,
        "metric": "exact_match",
        "split": "test",
        "rows": {"source": "easy_vqa", "split": "test"},
        "n": len(rows),
        "sample": "all rows",
        "prompt_example": "Q",
        "decoding": {"do_sample": False, "max_new_tokens": 8},
        "seed": 0,
        "model": {"name": folder.parent.name},
        "scores": {"overall": {"score": float(np.mean(scores)), "low": 0.0, "high": 1.0, "n": len(rows)}},
        "figures": {"F1": {"value": 0.5, "low": 0.4, "high": 0.6, "n": len(rows), "share": True}},
        "controls": {},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(json.dumps({**result, **keys}))
    (folder / "predictions.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    return folder


def pair(tmp_path, first=(1.0, 0.0, 1.0), other=(0.0, 0.0, 1.0), ids=None, **keys):
    a = found(write(tmp_path / "a" / "task", first, prompt="short_answer", by_heart=False))
    b = found(write(tmp_path / "b" / "task", other, ids, **{"prompt": "short_answer", **keys}))
    return [*a, *b]


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (3, 3), (2, 9), (12, 12), (24, 0)])
def test_few_discordant_pairs_give_the_exact_test(b, c):
    found = mcnemar([1.0] * b + [0.0] * c + [1.0, 0.0], [0.0] * b + [1.0] * c + [1.0, 0.0])
    wanted = stats.binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert (found.first_right, found.other_right, found.test, found.statistic) == (b, c, "exact", None)
    assert found.p == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(("b", "c"), [(13, 12), (20, 20), (40, 10), (3, 300)])
def test_many_discordant_pairs_give_the_corrected_chi_squared_test(b, c):
    found = mcnemar([1.0] * b + [0.0] * c, [0.0] * b + [1.0] * c)
    statistic = max(0, abs(b - c) - 1) ** 2 / (b + c)
    assert found.test == "chi2" and found.statistic == pytest.approx(statistic)
    assert found.p == pytest.approx(stats.chi2.sf(statistic, 1), rel=1e-9)


def test_the_two_tests_agree_where_one_hands_over_to_the_other():
    at = [mcnemar([1.0] * b + [0.0] * (n - b), [0.0] * b + [1.0] * (n - b)).p for n, b in ((24, 7), (26, 8))]
    assert at[0] == pytest.approx(at[1], rel=0.3)


def test_a_half_counts_as_right():
    assert mcnemar([0.5, 0.49], [0.3, 0.5]).first_right == mcnemar([0.5, 0.49], [0.3, 0.5]).other_right == 1


def test_the_paired_interval_is_that_of_a_plain_bootstrap():
    chance = random.Random(1)
    first = [float(chance.random() < 0.6) for _ in range(300)]
    other = [one if chance.random() < 0.8 else 1 - one for one in first]
    got = paired_difference(first, other, seed=3)
    d = np.array(other) - np.array(first)
    draws = d[np.random.default_rng(7).integers(0, 300, (20_000, 300))].mean(1)
    assert got.difference == pytest.approx(d.mean()) and got.n == 300
    assert (got.low, got.high) == pytest.approx(np.percentile(draws, (2.5, 97.5)), abs=0.006)
    graded = [score * chance.random() for score in other]
    assert paired_difference(first, graded, seed=3) == paired_difference(first, graded, seed=3)
    assert paired_difference(first, graded, seed=3) != paired_difference(first, graded, seed=4)


def test_pairing_makes_the_interval_narrower_than_two_samples_would():
    first = [float(n % 2) for n in range(400)]
    other = [1.0 if n % 20 == 0 else one for n, one in enumerate(first)]
    got = paired_difference(first, other)
    unpaired = 1.96 * np.sqrt(np.var(first) / 400 + np.var(other) / 400)
    assert got.low > 0 and got.high - got.low < unpaired


def test_no_difference_at_all_is_not_certainty():
    got = paired_difference([1.0, 0.0] * 50, [1.0, 0.0] * 50)
    assert got.difference == 0 and got.low == -got.high < 0
    assert got.high == pytest.approx(0.037, abs=1e-3)  # Wilson's upper bound for 0 of 100
    with pytest.raises(ValueError, match="at least one pair"):
        paired_difference([], [])


def test_a_comparison_counts_what_it_says(tmp_path):
    first, other = (1.0, 0.0, 0.6, 0.0, 1.0, 1.0), (0.0, 1.0, 0.3, 0.3, 1.0, 1.0)
    whole = compare(pair(tmp_path, first, other), ["a", "b"])
    (got,) = whole["tasks"]["easy_vqa_test"]["comparisons"]
    assert (got["n"], got["only_first"], got["only_other"]) == (6, 0, 0)
    overall = got["scores"]["overall"]
    assert (overall["wins"], overall["losses"], overall["ties"]) == (2, 2, 2)
    assert overall["difference"] == pytest.approx((sum(other) - sum(first)) / 6)
    assert got["scores"]["yes/no"]["wins"] == 2 and got["scores"]["open"]["losses"] == 2
    assert got["mcnemar"]["overall"]["first_right"] == 2 and got["mcnemar"]["overall"]["other_right"] == 1
    assert [(one["id"], one["change"]) for one in got["changed"]] == [
        ("q0", "right-wrong"),
        ("q1", "wrong-right"),
        ("q2", "right-wrong"),
        ("q3", "wrong-wrong"),
    ]
    assert whole["tasks"]["easy_vqa_test"]["models"]["b"]["figures"]["F1"]["high"] == 0.6
    json.dumps(whole)


def test_samples_are_joined_by_id_and_what_is_not_shared_is_counted(tmp_path):
    models = pair(tmp_path, (1.0, 0.0, 1.0), (1.0, 1.0, 0.0, 0.0), ids=(2, 1, 8, 9))
    (got,) = compare(models, ["a", "b"])["tasks"]["easy_vqa_test"]["comparisons"]
    assert (got["n"], got["only_first"], got["only_other"]) == (2, 1, 2)
    assert got["scores"]["overall"]["wins"] == 1 and got["scores"]["overall"]["losses"] == 0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("version", 2),
        ("metric", "anls"),
        ("decoding", {"do_sample": False, "max_new_tokens": 16}),
        ("sample", "a sample of 3 of 9 rows, seed 1"),
        ("split", "val"),
        ("prompt", "as_written"),
        ("by_heart", True),
    ],
)
def test_what_was_asked_differently_is_refused_with_what_differs(tmp_path, key, value):
    with pytest.raises(MendableError, match=f"what differs:\n  {key}: ") as raised:
        compare(pair(tmp_path, **{key: value}), ["a", "b"])
    assert ("--shared" in raised.value.fix) == (key == "sample")


def test_everything_that_differs_is_said_at_once(tmp_path):
    a, b = pair(tmp_path, version=2, decoding={}, model={"name": "a"}, prompt_example="other")
    said = list(mismatches(a["easy_vqa_test"], b["easy_vqa_test"]))
    assert [line.partition(":")[0] for line in said] == ["version", "decoding", "prompt of one model"]


def test_another_model_may_have_another_template_and_the_result_says_so(tmp_path):
    models = pair(tmp_path, prompt_example="[INST] Q [/INST]")
    (got,) = compare(models, ["a", "b"])["tasks"]["easy_vqa_test"]["comparisons"]
    assert got["same_prompt"] is False


def test_other_questions_under_the_same_ids_are_refused(tmp_path):
    models = pair(tmp_path)
    models[1]["easy_vqa_test"].rows[1]["references"] = ["no"]
    with pytest.raises(MendableError, match="references of 1 samples, such as q1"):
        compare(models, ["a", "b"])


def test_samples_drawn_differently_can_be_compared_where_they_overlap(tmp_path):
    models = pair(tmp_path, ids=(2, 1, 0), sample="another")
    (got,) = compare(models, ["a", "b"], shared=True)["tasks"]["easy_vqa_test"]["comparisons"]
    assert got["n"] == 3
    with pytest.raises(MendableError, match="share no sample"):
        compare(pair(tmp_path / "more", ids=(7, 8, 9)), ["a", "b"], shared=True)


def test_one_model_or_no_shared_task_is_refused(tmp_path):
    models = pair(tmp_path, task="shapes_test")
    with pytest.raises(MendableError, match="one model alone"):
        compare(models[:1], ["a"])
    with pytest.raises(MendableError, match="share no task"):
        compare(models, ["a", "b"])


def test_more_than_two_are_each_compared_with_the_first(tmp_path):
    models = [*pair(tmp_path), *found(write(tmp_path / "c" / "task", (1.0, 1.0, 1.0)))]
    got = compare(models, model_names(models))["tasks"]["easy_vqa_test"]["comparisons"]
    assert [(one["other"], one["scores"]["overall"]["difference"] > 0) for one in got] == [("b", False), ("c", True)]


def test_folders_as_evaluate_leaves_them(tmp_path):
    for model in ("base", "tuned"):
        for task in ("easy_vqa_test", "shapes_test"):
            write(tmp_path / model / task, (1.0, 0.0), task=task)
    assert [sorted(model) for model in found(tmp_path)] == [["easy_vqa_test", "shapes_test"]] * 2
    assert model_names(found(tmp_path)) == ["base", "tuned"]
    assert [*found(tmp_path / "base" / "shapes_test")[0]] == ["shapes_test"]
    write(tmp_path / "tuned" / "docvqa_val", (1.0,), task="docvqa_val")
    assert compare(found(tmp_path), ["base", "tuned"])["left_out"] == {"base": [], "tuned": ["docvqa_val"]}


def test_models_without_a_name_are_told_apart_by_their_folders(tmp_path):
    for when in ("before", "after"):
        write(tmp_path / "eval" / when, (1.0, 0.0), model=None)
    models = found(tmp_path / "eval")  # the same task twice under one folder: two models
    assert model_names(models) == ["after", "before"]
    write(tmp_path / "x" / "task", (1.0,), model=None)
    write(tmp_path / "y" / "task", (1.0,), model=None)
    assert model_names([*found(tmp_path / "x"), *found(tmp_path / "y")]) == ["x", "y"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("result.json", "{", "is not JSON"),
        ("result.json", "[]", "expected an object, got a list"),
        ("result.json", "{}", "task and scores are missing"),
        ("predictions.jsonl", "{\n", "is not JSON"),
        ("predictions.jsonl", '{"id": 1}\n', "line 1 lacks category, prediction, question, references, score"),
        ("predictions.jsonl", "3\n", "expected an object, got int"),
        ("predictions.jsonl", (json.dumps(row(1, 1.0)) + "\n") * 2, "line 2 repeats the id 'q1'"),
    ],
)
def test_broken_files_are_named(tmp_path, name, text, words):
    folder = write(tmp_path / "a" / "task", (1.0, 0.0))
    (folder / name).write_text(text)
    with pytest.raises(MendableError, match=words) as raised:
        _ = found(folder)[0]["easy_vqa_test"].rows
    assert raised.value.where.startswith(str(folder / name))


def test_a_folder_without_evaluations_is_said(tmp_path):
    with pytest.raises(MendableError, match="there is no evaluation in"):
        found(tmp_path)
