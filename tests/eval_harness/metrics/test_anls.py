"""ANLS against cases worked by hand from its definition and the challenge's script."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval_harness.metrics.anls import levenshtein, score


@pytest.mark.parametrize(
    ("prediction", "references", "expected"),
    [
        ("1/8/93", ["1/8/93"], 1.0),
        ("P. CARTER", ["p. carter"], 1.0),  # case does not count
        ("Denver Bronco", ["Denver Broncos", "Denver R. Broncos"], 13 / 14),  # the nearest reference
        ("abcd", ["abxy"], 0.5),  # half of it: just enough
        ("abcd", ["axyz"], 0.0),  # a quarter
        ("abcd", ["abxyz"], 0.0),  # 2 of 5
        ("", ["yes"], 0.0),
        ("", [""], 1.0),
        ("a  b", ["a b"], 1.0),  # any space is one space …
        ("a    c", ["a b"], 1 - 1 / 6),  # … but counts where the distance is divided
    ],
)
def test_cases(prediction: str, references: list[str], expected: float) -> None:
    assert score(prediction, references) == pytest.approx(expected)


@given(prediction=st.text(max_size=20), references=st.lists(st.text(max_size=20), min_size=1, max_size=3))
def test_it_is_0_or_at_least_a_half_and_more_references_never_lower_it(prediction: str, references: list[str]) -> None:
    found = score(prediction, references)
    assert found == 0.0 or 0.5 <= found <= 1.0
    assert score(prediction, [*references, prediction]) >= found
    assert score(references[0].upper(), references) <= 1.0


@given(one=st.text(max_size=12), other=st.text(max_size=12), third=st.text(max_size=12))
def test_levenshtein_is_a_distance(one: str, other: str, third: str) -> None:
    assert (levenshtein(one, other) == 0) == (one == other)
    assert levenshtein(one, other) == levenshtein(other, one)
    assert levenshtein(one, third) <= levenshtein(one, other) + levenshtein(other, third)
    assert abs(len(one) - len(other)) <= levenshtein(one, other) <= max(len(one), len(other))


def test_levenshtein_of_known_words() -> None:
    assert levenshtein("kitten", "sitting") == 3 and levenshtein("flaw", "lawn") == 2


def table(one: str, other: str) -> int:
    """The textbook's way, cell by cell."""
    above = list(range(len(other) + 1))
    for row, sign in enumerate(one, start=1):
        here = [row]
        for column, beside in enumerate(other, start=1):
            here.append(min(above[column] + 1, here[-1] + 1, above[column - 1] + (sign != beside)))
        above = here
    return above[-1]


@given(one=st.text("abc", max_size=90), other=st.text("abc", max_size=90))
def test_levenshtein_is_the_tables(one: str, other: str) -> None:
    assert levenshtein(one, other) == table(one, other)


@given(one=st.text("ab", max_size=9), other=st.text("ab", max_size=30))
def test_what_cannot_reach_the_threshold_is_0_without_counting(one: str, other: str) -> None:
    share = 1 - table(one, other) / max(len(one), len(other), 1)
    assert score(one, [other]) == pytest.approx(share if share >= 0.5 else 0.0)
