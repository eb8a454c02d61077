"""The length-grouped order: every row once, known from seed and epoch alone, and a step's rows of one length."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from accelerate import skip_first_batches
from accelerate.data_loader import prepare_data_loader
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from mlplora_vlm.sampler import LengthGroupedSampler

LENGTHS = np.random.default_rng(0).permutation(np.arange(1, 1601))
"""All different; 1,600 rows are four sorted stretches of 25 steps of 16 (with more rows a stretch has 50 steps)."""


def epoch(sampler: LengthGroupedSampler, number: int) -> list[int]:
    sampler.set_epoch(number)
    return list(sampler)


@settings(deadline=None)
@given(st.lists(st.integers(1, 4096), min_size=1, max_size=300), st.integers(1, 64), st.integers(-5, 2**40))
def test_every_row_is_there_once_and_the_seed_and_epoch_say_where(lengths, rows_a_step, seed):
    sampler = LengthGroupedSampler(lengths, rows_a_step, seed)
    orders = [epoch(sampler, number) for number in (0, 1, 2)]
    assert len(sampler) == len(lengths)
    assert all(sorted(order) == list(range(len(lengths))) for order in orders)
    torch.rand(3)  # what else is drawn does not matter
    again = LengthGroupedSampler(np.array(lengths, np.int32), rows_a_step, seed)
    assert [epoch(again, number) for number in (2, 1, 0)] == orders[::-1]


def test_seeds_and_epochs_have_orders_of_their_own():
    orders = {tuple(epoch(LengthGroupedSampler(LENGTHS, 16, seed), number)) for seed in range(4) for number in range(4)}
    assert len(orders) == 16


def test_the_global_generator_is_left_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(LengthGroupedSampler(LENGTHS, 16, 0))
    assert torch.equal(torch.get_rng_state(), before)


def batches(sampler: LengthGroupedSampler, size: int, process: int = 0, processes: int = 1, workers: int = 0):
    loader = DataLoader(range(len(sampler)), size, sampler=sampler, num_workers=workers, collate_fn=list)
    return prepare_data_loader(
        loader, num_processes=processes, process_index=process, put_on_device=False, use_seedable_sampler=True
    )


@pytest.mark.parametrize(
    ("processes", "accumulation", "size"), [(1, 1, 16), (2, 1, 8), (2, 2, 4), (4, 1, 4), (1, 4, 4)]
)
def test_each_steps_rows_are_of_one_length_on_all_processes(processes, accumulation, size):
    shards = [list(batches(LengthGroupedSampler(LENGTHS, 16, 0), size, rank, processes)) for rank in range(processes)]
    steps = [
        [row for shard in shards for micro in shard[i : i + accumulation] for row in micro]
        for i in range(0, len(shards[0]), accumulation)
    ]
    assert len(steps) == 100 and sorted(row for step in steps for row in step) == list(range(1600))
    spans = [(int(LENGTHS[step].min()), int(LENGTHS[step].max())) for step in steps]
    assert spans[0][1] == 1600, "if a row is too long for the memory, it is known at once"
    for first in range(0, 100, 25):  # a stretch's first row may be another's: see above
        falling = itertools.pairwise(spans[first + 1 : first + 25])
        assert all(shortest > longest for (shortest, _), (_, longest) in falling)


def test_rows_a_step_are_what_counts_and_not_how_processes_share_them():
    one = list(batches(LengthGroupedSampler(LENGTHS, 16, 0), 16))
    two = [list(batches(LengthGroupedSampler(LENGTHS, 16, 0), 8, rank, 2)) for rank in (0, 1)]
    assert [first + second for first, second in zip(*two, strict=True)] == one


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_prepared_loader_goes_on_where_it_was_left(workers):
    sampler = LengthGroupedSampler(LENGTHS[:64], 8, 0)
    loader = batches(sampler, 8, workers=workers)
    whole = [[list(batch) for batch in loader] for _ in range(3)]
    assert len({str(order) for order in whole}) == 3, "the loader tells the sampler of the epochs"
    for number, done in ((0, 3), (1, 0), (1, 5), (2, 7)):
        fresh = batches(LengthGroupedSampler(LENGTHS[:64], 8, 0), 8, workers=workers)
        rest = skip_first_batches(fresh, done)
        rest.set_epoch(number)
        assert list(rest) == whole[number][done:]
