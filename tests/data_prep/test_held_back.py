"""Which rows are trained on: seeded, as many as asked for, none that shares a picture with a held-back row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.held_back import drawn, split_rows
from mlplora_vlm.errors import MendableError


def rows(count, pictures):
    """The pictures of ``count`` questions about ``pictures`` pictures in turn; every tenth is about two of them."""
    return [
        [f"{number % pictures}.png"] + ([f"{(number + 1) % pictures}.png"] if number % 10 == 9 else [])
        for number in range(count)
    ]


def test_all_rows_in_order_where_none_are_held_back():
    training, held_back = split_rows(rows(50, 7), 0, seed=0)
    assert training.tolist() == list(range(50)) and not len(held_back)


def test_a_limit_is_seeded_exact_and_in_order():
    chosen = drawn(np.arange(50), 20, seed=1).tolist()
    assert len(chosen) == 20 and chosen == sorted(set(chosen))
    assert chosen == drawn(np.arange(50), 20, seed=1).tolist() != drawn(np.arange(50), 20, seed=2).tolist()
    assert drawn(np.arange(50), 0, seed=1).tolist() == list(range(50))


@pytest.mark.parametrize("seed", range(5))
def test_held_back_pictures_are_never_trained_on(seed):
    pictures = rows(400, 80)
    training, held_back = split_rows(pictures, 23, seed)
    assert len(held_back) == 23 and len(training) > 300
    shown, kept = ({picture for row in some for picture in pictures[row]} for some in (training, held_back))
    assert not shown & kept


def test_rows_without_pictures_can_be_held_back():
    training, held_back = split_rows([[] for _ in range(10)], 4, seed=0)
    assert len(held_back) == 4 and sorted([*training, *held_back]) == list(range(10))


def test_asking_for_too_much_is_refused():
    with pytest.raises(MendableError, match=r"10 rows can be held back, not 11"):
        split_rows(rows(10, 3), 11, seed=0)


@given(st.lists(st.lists(st.integers(0, 12).map(str), max_size=3), min_size=1, max_size=40), st.integers(1, 9))
def test_a_row_is_held_back_whole_or_not_at_all(pictures, wanted):
    """Against the plain reading: sets of keys, where a row without pictures has one of its own."""
    keys = [set(shown) or {f"row {number}"} for number, shown in enumerate(pictures)]
    try:
        training, held_back = split_rows(pictures, wanted, seed=3)
    except MendableError:
        assert wanted > len(pictures)
        return
    aside = set().union(*(keys[row] for row in held_back))
    assert len(held_back) == wanted and all(aside.isdisjoint(keys[row]) for row in training)
