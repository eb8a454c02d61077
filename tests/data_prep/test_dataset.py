"""Which rows are trained on: seeded, as many as asked for, none that shares a picture with a held-back row."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_prep.dataset import DataSection, load_examples, split_rows
from data_prep.example import Example
from mlplora_vlm.errors import MendableError


def rows(count, pictures):
    """``count`` questions about ``pictures`` pictures in turn; every tenth is about two of them."""
    found = []
    for number in range(count):
        images = [Path(f"{number % pictures}.png")] + (
            [Path(f"{(number + 1) % pictures}.png")] if number % 10 == 9 else []
        )
        found.append(Example(str(number), tuple(images), "what?", "red", ("red",), "open"))
    return found


def section(**settings):
    return DataSection(source="shapes", **settings)


def test_all_rows_in_order_without_a_limit():
    some = rows(50, 7)
    assert split_rows(some, section()) == (some, [])


def test_limit_is_seeded_exact_and_in_order():
    some = rows(50, 7)
    chosen, _ = split_rows(some, section(limit=20), seed=1)
    assert len(chosen) == 20 and [int(row.id) for row in chosen] == sorted(int(row.id) for row in chosen)
    assert chosen == split_rows(some, section(limit=20), seed=1)[0] != split_rows(some, section(limit=20), seed=2)[0]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("limit", [0, 30])
def test_held_back_pictures_are_never_trained_on(seed, limit):
    training, held_back = split_rows(rows(400, 80), section(limit=limit), seed, held_back=23)
    assert len(held_back) == 23 and (len(training) == limit if limit else len(training) > 300)
    shown, kept = ({picture for row in some for picture in row.images} for some in (training, held_back))
    assert not shown & kept


def test_rows_without_pictures_can_be_held_back():
    some = [Example(str(number), (), "what?", "red", ("red",), "open") for number in range(10)]
    training, held_back = split_rows(some, section(), held_back=4)
    assert len(held_back) == 4 and not {row.id for row in training} & {row.id for row in held_back}


def test_asking_for_too_much_is_refused():
    with pytest.raises(MendableError, match=r"lower data\.limit"):
        split_rows(rows(10, 3), section(limit=11))
    with pytest.raises(MendableError, match=r"held back|training rows"):
        split_rows(rows(10, 3), section(), held_back=11)


def test_a_source_by_its_name():
    training, held_back = load_examples(section(limit=100), seed=0, held_back=16)
    again, _ = load_examples(section(limit=100), seed=0, held_back=16)
    assert (len(training), len(held_back)) == (100, 16)
    assert [row.id for row in training] == [row.id for row in again]
