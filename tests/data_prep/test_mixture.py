"""One pass over a mixture: every source has its share, no row more than one time more often than another."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.mixture import order
from data_prep.section import SourceSection

EPOCHS, WEIGHTS = st.floats(0.01, 8), st.floats(1e-3, 1e3)
SHARES = st.one_of(EPOCHS.map(lambda epochs: {"epochs": epochs}), WEIGHTS.map(lambda weight: {"weight": weight}))
SOURCES = st.dictionaries(
    st.text(min_size=1, max_size=5), st.tuples(st.integers(1, 300), SHARES), min_size=1, max_size=6
)
SEEDS = st.integers(-(2**40), 2**40)


def taken(sources, seed=0) -> dict[str, Counter[int]]:
    """How often each source's rows are shown, by their number within the source; ``sources``: name → (rows, share)."""
    sizes = {name: size for name, (size, _) in sources.items()}
    found = order(sizes, {name: SourceSection("x", **share) for name, (_, share) in sources.items()}, seed)
    assert found.dtype == np.int64 and (np.diff(found) >= 0).all()
    starts = dict(zip(sizes, np.cumsum([0, *sizes.values()]).tolist(), strict=False))
    assert not len(found) or 0 <= found[0] <= found[-1] < sum(sizes.values())
    return {
        name: Counter((found[(found >= start) & (found < start + sizes[name])] - start).tolist())
        for name, start in starts.items()
    }


@settings(deadline=None)
@given(SOURCES, SEEDS)
def test_every_source_has_its_share_and_every_row_its_turn(sources, seed):
    shown = taken(sources, seed)
    weighted = {name: size for name, (size, share) in sources.items() if "weight" in share}
    weights = sum(sources[name][1]["weight"] for name in weighted)
    for name, (size, share) in sources.items():
        wanted = share["epochs"] * size if "epochs" in share else sum(weighted.values()) * share["weight"] / weights
        times = [shown[name][row] for row in range(size)]
        assert abs(sum(times) - wanted) <= 1
        assert max(times) - min(times) <= 1
    assert sum(shown[name].total() for name in weighted) == sum(weighted.values())


@settings(deadline=None)
@given(SOURCES, SEEDS, st.integers(1, 300))
def test_other_sources_do_not_change_which_rows_are_chosen(sources, seed, size):
    shown = taken(sources, seed)
    assert taken(dict(reversed(sources.items())), seed) == shown
    assert taken(dict(sorted(sources.items())), seed) == shown
    more = taken({"another one": (size, {"epochs": 1.5})} | sources, seed)
    assert {name: more[name] for name in sources} == shown


@settings(deadline=None)
@given(st.integers(1, 10**4), st.text(max_size=3), SEEDS)
def test_one_source_once_is_left_as_it_is(size, name, seed):
    for share in ({}, {"weight": 7.0}):
        assert np.array_equal(order({name: size}, {name: SourceSection("x", **share)}, seed), np.arange(size))


@pytest.mark.parametrize(("epochs", "times"), [(1.0, {1: 100}), (2.5, {2: 50, 3: 50}), (0.5, {1: 50}), (3.0, {3: 100})])
def test_epochs_are_passes_and_a_part_of_one(epochs, times):
    assert Counter(taken({"a": (100, {"epochs": epochs})})["a"].values()) == times


def test_weights_share_what_the_weighted_sources_have():
    shown = taken({"a": (10, {"weight": 3.0}), "b": (90, {"weight": 1.0}), "c": (7, {"epochs": 2.0})})
    assert {name: of.total() for name, of in shown.items()} == {"a": 75, "b": 25, "c": 14}
    assert Counter(shown["a"].values()) == {7: 5, 8: 5} and set(shown["b"].values()) == {1}


def test_the_largest_remainders_are_rounded_up():
    shown = taken({"a": (4, {"weight": 3.4}), "b": (3, {"weight": 3.3}), "c": (3, {"weight": 3.3})})
    assert [of.total() for of in shown.values()] == [4, 3, 3]
    shown = taken({"a": (4, {"weight": 1.0}), "b": (3, {"weight": 1.0}), "c": (3, {"weight": 1.0})})
    assert sorted(of.total() for of in shown.values()) == [3, 3, 4]


def test_the_seed_chooses_and_every_row_can_be_chosen():
    chosen = [frozenset(taken({"a": (20, {"epochs": 0.5})}, seed)["a"]) for seed in range(20)]
    assert len(set(chosen)) > 15 and frozenset.union(*chosen) == frozenset(range(20))
    both = taken({"a": (50, {"epochs": 0.5}), "b": (50, {"epochs": 0.5})})
    assert both["a"] != both["b"], "each source draws for itself"


def test_more_epochs_keep_the_rows_that_fewer_had():
    fewer, more = (taken({"a": (100, {"epochs": epochs})})["a"] for epochs in (0.3, 0.6))
    assert fewer <= more


def test_the_order_is_the_same_in_every_process():
    code = """
from data_prep.mixture import order
from data_prep.section import SourceSection
sizes = {"a": 30, "b": 50, "c": 9}
print(order(sizes, {name: SourceSection("x", weight=size) for name, size in zip(sizes, (1, 2, 3))}, 5).tolist())
"""
    told = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("0", "1")
    }
    assert len(told) == 1


def test_memory_is_that_of_the_numbers():
    import tracemalloc

    sections = {"a": SourceSection("x", epochs=1.5), "b": SourceSection("x")}
    tracemalloc.start()
    found = order({"a": 200_000, "b": 100_000}, sections, 0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.nbytes == 8 * 400_000 and peak < 4 * found.nbytes
