"""Shares of several processes: everything once, uneven ones too, and no picture looked at by two."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval_harness.processes import Processes

PICTURES = st.lists(st.lists(st.sampled_from("abcde"), max_size=2).map(tuple), max_size=20)


@given(PICTURES, st.integers(1, 5))
def test_every_row_is_one_process_s(pictures, world):
    shares = [Processes(rank, world).share(pictures) for rank in range(world)]
    assert sorted(number for share in shares for number in share) == list(range(len(pictures)))
    owners = {pictures[number]: rank for rank, share in enumerate(shares) for number in share if pictures[number]}
    assert all(owners[pictures[n]] == rank for rank, share in enumerate(shares) for n in share if pictures[n])


def test_shares_are_about_equal():
    shares = [Processes(rank, 3).share([(str(number),) for number in range(10)]) for rank in range(3)]
    assert [len(share) for share in shares] == [4, 3, 3]


def test_alone_without_torchrun(monkeypatch: pytest.MonkeyPatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert Processes.here() == Processes(0, 1) and Processes.here().first
    Processes.here().wait()
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert Processes.here() == Processes(1, 4) and not Processes.here().first
