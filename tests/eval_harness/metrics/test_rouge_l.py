"""ROUGE-L against cases worked by hand from its definition, with COCO's beta and its best over references."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval_harness.metrics.rouge_l import longest_common, of_words, scores

CAPTION = "a bicycle replica with a clock as the front wheel"


def f(precision: float, recall: float) -> float:
    return (1 + 1.44) * precision * recall / (recall + 1.44 * precision)


@pytest.mark.parametrize(
    ("prediction", "references", "expected"),
    [
        (CAPTION, [CAPTION], 1.0),
        ("a clock", [CAPTION], f(1, 2 / 10)),
        ("clock a", [CAPTION], f(1 / 2, 1 / 10)),  # the order does
        ("a red clock", [CAPTION], f(2 / 3, 2 / 10)),  # words between do not break it
        ("a dog runs", ["a dog", "a big dog runs fast"], f(1, 1)),  # best precision and recall, each on its own
        ("a dog", ["the cat"], 0.0),
        ("", [CAPTION], 0.0),
        ("", [""], 1.0),  # the original's oddity: no word is one empty word
        ("a", ["", "a"], 1.0),
    ],
)
def test_cases(prediction: str, references: list[str], expected: float) -> None:
    assert of_words(prediction, references) == pytest.approx(expected)


def test_neither_case_nor_punctuation_counts() -> None:
    assert scores([f"{CAPTION.upper()}."], [[CAPTION]]) == [1.0]


@given(
    prediction=st.lists(st.sampled_from("abc"), min_size=1, max_size=8),
    references=st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=8), min_size=1, max_size=4),
)
def test_scores_lie_between_0_and_1_and_more_references_never_lower_them(
    prediction: list[str], references: list[list[str]]
) -> None:
    said, wanted = " ".join(prediction), [" ".join(reference) for reference in references]
    found = of_words(said, wanted)
    assert 0.0 <= found <= 1.0
    assert of_words(said, wanted[1:] or wanted) <= found + 1e-12
    assert (found > 0) == any(set(prediction) & set(reference) for reference in references)


@given(one=st.lists(st.integers(0, 3), max_size=8), other=st.lists(st.integers(0, 3), max_size=8))
def test_longest_common_subsequence_is_in_both(one: list[int], other: list[int]) -> None:
    found = longest_common(one, other)
    assert found == longest_common(other, one) <= min(len(one), len(other))
    assert longest_common(one, one) == len(one)
    assert longest_common([*one, 9], [*other, 9]) == found + 1
