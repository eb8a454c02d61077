"""Confusion tables: only for closed sets, the right answers on the diagonal, nothing lost."""

from __future__ import annotations

import pytest

from eval_harness.confusion import closed_set, confusion


def rows(*given, times=1):
    """(reference, prediction, score) …"""
    return [
        {"references": [reference], "prediction": prediction, "score": score} for reference, prediction, score in given
    ] * times


def test_every_row_is_counted_once_and_right_ones_on_the_diagonal():
    found = confusion(
        rows(
            ("yes", "Yes.", 1.0),
            ("Yes", "no", 0.0),
            ("no", "no", 1.0),
            ("no", "Yes, there is one.", 0.0),
            ("yes", "a circle", 0.0),
            ("yes", "in words of its own", 1.0),
            ("yes", "yes", 0.0),  # the metric says no: it is no confusion with another answer
            times=2,
        )
    )
    assert found.answers == ("yes", "no")
    assert found.counts == ((4, 2, 4), (2, 2, 0))


def test_what_is_no_closed_set_has_no_table():
    many = [(str(number), "x", 0.0) for number in range(31)]
    assert closed_set(rows(*many, times=9)) == ()
    assert len(closed_set(rows(*many[:30], times=9))) == 30
    assert confusion(rows(("yes", "yes", 1.0), times=50)) is None  # one answer alone
    assert confusion(rows(("a", "a", 1.0), ("b", "b", 1.0), times=4)) is None  # too few rows to tell
    assert confusion([]) is None


def test_several_references_a_row_are_no_closed_set_but_repeated_ones_are():
    assert closed_set([{"references": ["yes", "no"]}, {"references": ["no", "no"]}] * 9) == ()
    assert closed_set([{"references": ["yes", "Yes "]}, {"references": ["no", "no"]}, {"references": ["no"]}] * 9) == (
        "no",
        "yes",
    )


@pytest.mark.parametrize("hostile", ["", " ", "other", "\x00"])
def test_odd_predictions_are_other(hostile):
    found = confusion(rows(("yes", hostile, 0.0), ("no", "no", 1.0), times=6))
    assert found.counts[found.answers.index("yes")] == (0, 0, 6)
