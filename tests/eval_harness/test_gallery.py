"""The gallery's samples: joined by id; the pick seeded and balanced."""

from __future__ import annotations

from collections import Counter

from eval_harness.gallery import Answer, pick, samples_of


def rows(scores, start=0):
    return [
        {
            "id": f"q{start + index}",
            "category": "open" if index % 2 else "yes/no",
            "question": "?",
            "references": ["a"],
            "prediction": "a" if score else "b",
            "score": score,
        }
        for index, score in enumerate(scores)
    ]


def pairs(before, after, start=0):
    return samples_of("task", [rows(before), rows(after, start)])


def test_rare_kinds_are_shown_beside_frequent_ones():
    picked = pick(pairs([0.0] * 96 + [1.0] * 4, [1.0] * 92 + [0.0] * 8), n=24)
    shown = Counter((sample.category, sample.kind) for sample in picked)
    assert len(picked) == len({sample.id for sample in picked}) == 24
    assert {kind for _, kind in shown} == {"wrong-right", "wrong-wrong", "right-wrong"}
    assert shown["open", "right-wrong"] == shown["open", "wrong-wrong"] == 2
    assert shown["open", "wrong-right"] == shown["yes/no", "wrong-right"] == 8


def test_same_seed_same_pick():
    samples = pairs([0.0] * 50, [1.0] * 50)
    assert pick(samples, 8, seed=3) == pick(samples, 8, seed=3)
    assert pick(samples, 8, seed=3) != pick(samples, 8, seed=4)


def test_where_all_fit_they_stay_in_their_order():
    samples = pairs([0.0] * 50, [1.0] * 50)
    assert pick(samples, 50) == samples


def test_a_question_that_one_model_was_not_asked_has_no_answer_of_it():
    samples = pairs([0.0] * 6, [1.0] * 6, start=3)
    assert [sample.id for sample in samples] == [f"q{number}" for number in range(9)]
    assert samples[0].answers == (Answer("b", 0.0), None) and samples[8].answers == (None, Answer("a", 1.0))
    assert [sample.id for sample in samples if all(sample.answers)] == ["q3", "q4", "q5"]
    assert samples_of("task", [rows([1.0]), None])[0].answers == (Answer("a", 1.0), None)


def test_a_share_of_annotators_counts_as_right_from_a_half():
    assert pairs([0.3], [0.6])[0].kind == "wrong-right"
    assert samples_of("task", [rows([0.5])])[0].kind == "right"
