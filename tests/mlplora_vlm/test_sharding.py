"""Every row of an adapter has exactly one owner, whatever the stage, sizes and number of processes."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from mlplora_vlm.sharding import full_shape, owned_rows

SIZES = st.lists(st.integers(1, 50), min_size=1, max_size=4)


@given(numels=SIZES, stage=st.sampled_from([1, 2, 3]), world=st.integers(1, 7), extra=st.integers(0, 3))
def test_owned_rows_partition_the_adapter(numels, stage, world, extra):
    total = sum(numels)
    local = sum(math.ceil(n / world) for n in numels) if stage == 3 else math.ceil(total / world) + extra
    slices = [owned_rows(numels, local, stage, rank, world) for rank in range(world)]
    assert all(len(rows) == local for rows in slices)
    rows = torch.cat(slices)
    assert sorted(rows[rows >= 0].tolist()) == list(range(total))


@given(numels=SIZES, world=st.integers(1, 7))
def test_stage_3_slices_hold_each_tensors_own_part(numels, world):
    """Gathering every process's slice of one tensor, as ZeRO-3 does, gives the tensor."""
    P = torch.arange(sum(numels))
    sizes = [math.ceil(n / world) for n in numels]
    slices = [owned_rows(numels, sum(sizes), 3, rank, world).split(sizes) for rank in range(world)]
    for index, tensor in enumerate(P.split(numels)):
        gathered = torch.cat([parts[index] for parts in slices])[: len(tensor)]
        assert torch.equal(gathered, tensor)


def test_without_zero_everything_is_owned():
    assert owned_rows([3, 4], 7, 0, 1, 2).tolist() == list(range(7))


def test_full_shape_is_the_shape_before_partitioning():
    parameter = torch.zeros(0)
    assert full_shape(parameter) == torch.Size([0])
    parameter.ds_shape = torch.Size([3, 5])
    assert full_shape(parameter) == torch.Size([3, 5])
