"""Relaxed accuracy against cases worked by hand from ChartQA's definition and pix2struct's function."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval_harness.metrics.relaxed_accuracy import score


@pytest.mark.parametrize(
    ("prediction", "reference", "right"),
    [
        ("14", "14", True),
        ("105", "100", True),  # 5 % is still right
        ("95", "100", True),
        ("105.1", "100", False),
        ("94.9", "100", False),
        ("-0.57", "-0.56", True),
        ("0.57", "-0.57", False),
        ("2014.0", "2014", True),
        ("2020", "2014", True),  # years are numbers too
        ("50%", "0.5", True),
        ("50", "0.5", False),
        ("50%", "51%", True),
        ("0", "0", True),
        ("0.0", "0", False),  # no share of 0: the texts must be equal
        ("No", "no", True),
        ("Nope", "No", False),
        ("1,000", "1000", False),  # no number to Python
        ("about 14", "14", False),
        ("", "14", False),
        ("nan", "14", False),
        ("14", "nan", False),
    ],
)
def test_cases(prediction: str, reference: str, right: bool) -> None:
    assert score(prediction, [reference]) == float(right)


def test_any_reference_counts() -> None:
    assert score("9", ["Yes", "9.1"]) == 1.0 and score("9", ["Yes", "10"]) == 0.0


@given(
    wanted=st.floats(1e-6, 1e9) | st.floats(-1e9, -1e-6),
    off=st.floats(-0.2, 0.2).filter(lambda x: abs(x) % 0.05 > 1e-6),
)
def test_numbers_are_right_within_five_percent_of_the_reference(wanted: float, off: float) -> None:
    assert score(repr(wanted * (1 + off)), [repr(wanted)]) == float(abs(off) < 0.05)


@given(prediction=st.text(max_size=12), references=st.lists(st.text(max_size=12), min_size=1, max_size=3))
def test_it_is_right_or_wrong(prediction: str, references: list[str]) -> None:
    assert score(prediction, references) in (0.0, 1.0)
