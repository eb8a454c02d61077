"""The gallery's pick: seeded, balanced, only questions that both runs answered."""

from __future__ import annotations

from collections import Counter

from eval_harness.gallery import pick


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


def test_rare_changes_are_shown_beside_frequent_ones():
    before, after = [0.0] * 96 + [1.0] * 4, [1.0] * 92 + [0.0] * 8
    pairs = pick(rows(before), rows(after), n=24)
    shown = Counter((pair.category, pair.change) for pair in pairs)
    assert len(pairs) == len({pair.id for pair in pairs}) == 24
    assert {change for _, change in shown} == {"wrong-right", "wrong-wrong", "right-wrong"}
    assert shown["open", "right-wrong"] == shown["open", "wrong-wrong"] == 2
    assert shown["open", "wrong-right"] == shown["yes/no", "wrong-right"] == 8


def test_same_seed_same_pick_and_the_rows_order_does_not_lead():
    before, after = rows([0.0] * 50), rows([1.0] * 50)
    assert pick(before, after, 8, seed=3) == pick(before, after, 8, seed=3)
    assert pick(before, after, 8, seed=3) != pick(before, after, 8, seed=4)


def test_only_questions_that_both_runs_answered():
    pairs = pick(rows([0.0] * 6), rows([1.0] * 6, start=3), n=24)
    assert sorted(pair.id for pair in pairs) == ["q3", "q4", "q5"]


def test_a_share_of_annotators_counts_as_right_from_a_half():
    (pair,) = pick(rows([0.3]), rows([0.6]), n=1)
    assert pair.change == "wrong-right"
