"""Each question is asked once, its like share a batch, and questions about one picture follow each other."""

from __future__ import annotations

from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from eval_harness.batches import Batches

ROWS = st.lists(
    st.tuples(st.integers(0, 2), st.lists(st.sampled_from("abc"), max_size=2).map(tuple), st.integers(1, 9)),
    max_size=12,
)


def batches(rows, size):
    counts, pictures, lengths = ([row[at] for row in rows] for at in range(3))
    return Batches(counts, pictures, lengths, size)


@given(ROWS, st.integers(1, 5))
def test_each_once_in_batches_of_their_like(rows, size):
    found = list(batches(rows, size))
    assert sorted(number for batch in found for number in batch) == list(range(len(rows)))
    assert all(len(batch) <= size and len({rows[number][0] for number in batch}) == 1 for batch in found)
    order = [rows[number][:2] for batch in found for number in batch]
    runs = [key for key, _ in groupby(order) if key[1]]
    assert len(runs) == len(set(runs))  # what shares pictures (and may share a batch) stands together


def test_the_longest_first_and_their_company_with_them():
    rows = [(0, ("a",), 3), (0, ("b",), 5), (0, ("a",), 7), (0, (), 6), (0, (), 9)]
    assert list(batches(rows, 2)) == [[4, 2], [0, 3], [1]]


@given(ROWS, st.integers(2, 5))
def test_halved_batches_lose_nothing_and_stay_small(rows, size):
    some, done, halved, most = batches(rows, size), [], False, size
    for batch in some:
        assert len(batch) <= most
        if len(batch) > 1 and not halved:
            halved, most = True, some.halve(batch)
            assert most == len(batch) // 2
            continue
        done += batch
    assert sorted(done) == list(range(len(rows)))
