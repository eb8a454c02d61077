"""An interrupted training shows the rows that the unbroken one does, step by step: none twice, none left out."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from resume_order_worker import EPOCHS, SHARES, SIZES, Case, Steps, lengths, listed, mixture, run

pytestmark = pytest.mark.slow

STOPS = (5, 12, 16)
"""Within the first of three epochs of 12 steps, at its end, within the second."""
WHOLE = [Case("plain"), Case("grouped", grouped=True)]
ODD = Case("odd", rows=21, accumulation=2)
"""The last step of its epochs of 6 has one batch of one row."""
TWO = [
    *(Case(f"{name}{'-stopped' * bool(stops)}", grouped, workers, 1, stops=stops)
      for name, grouped, workers in (("plain", False, 0), ("grouped", True, 0), ("grouped-2-workers", True, 2))
      for stops in ((), STOPS)),
    Case("odd", rows=21, batch_size=1),
]  # fmt: skip
"""In two processes: two rows a step again, but for the last."""


@pytest.fixture(scope="module", autouse=True)
def quick_collection():
    """Every training collects garbage before it begins: not the modules' again."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> dict[str, Steps]:
    folder = tmp_path_factory.mktemp("unbroken")
    return {case.name: run(case, folder) for case in [*WHOLE, ODD]}


def flat(steps: Steps) -> list[int]:
    return [place for step in steps for batch in step for place in batch]


@pytest.mark.parametrize("case", [*WHOLE, ODD], ids=lambda case: case.name)
def test_every_epoch_shows_every_place_of_the_mixture_once(unbroken, case):
    places = flat(unbroken[case.name])
    epochs = [places[i : i + case.rows] for i in range(0, len(places), case.rows)]
    assert len(epochs) == EPOCHS and len({tuple(epoch) for epoch in epochs}) == EPOCHS
    assert all(sorted(epoch) == list(range(case.rows)) for epoch in epochs)


def test_a_row_is_shown_as_often_as_its_source_wants(unbroken):
    rows = mixture()["row"]
    shown = Counter(rows[place] for place in flat(unbroken["grouped"]))
    times = [sorted(shown[row] for row in range(start, start + size)) for start, size in ((0, 10), (10, 4), (14, 8))]
    assert times == [[3] * 10, [6, 6, 9, 9], [0] * 4 + [3] * 4]
    assert [share.epochs for share in SHARES.values()] == [1, 2.5, 0.5] and list(SIZES.values()) == [10, 4, 8]


def test_grouped_batches_are_of_one_length(unbroken):
    long = lengths(24)
    spread = {
        name: sum(abs(long[a] - long[b]) for ((a, b),) in steps) for name, steps in unbroken.items() if name != "odd"
    }
    assert spread["grouped"] < 0.5 * spread["plain"]


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("case", WHOLE, ids=lambda case: case.name)
def test_interrupted_and_resumed_equals_unbroken(unbroken, tmp_path, case, workers):
    assert run(replace(case, workers=workers, stops=STOPS), tmp_path) == unbroken[case.name]


@pytest.mark.parametrize("stop", [2, 6, 7, 17])
def test_micro_batches_and_a_short_last_step_are_no_obstacle(unbroken, tmp_path, stop):
    assert run(replace(ODD, stops=(stop,)), tmp_path) == unbroken["odd"]


@pytest.mark.parametrize("case", WHOLE, ids=lambda case: case.name)
def test_workers_change_nothing_and_seeds_do(unbroken, tmp_path, case):
    assert run(replace(case, name="workers", workers=2), tmp_path) == unbroken[case.name]
    assert run(replace(case, name="seed", seed=1), tmp_path) != unbroken[case.name]


def test_the_trainers_own_grouping_would_not_pass(tmp_path):
    """Its order comes from torch's global generator: the second epoch's is another one after a resumption."""
    stock = Case("stock", stock=True)
    whole, resumed = run(stock, tmp_path), run(replace(stock, name="resumed", stops=(16,)), tmp_path)
    assert whole[:16] == resumed[:16] and sorted(flat(resumed[12:24])) != sorted(range(24))


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> list[dict[str, Steps]]:
    """What each of two processes saw."""
    folder, root = tmp_path_factory.mktemp("two"), Path(__file__).parents[2]
    (folder / "cases.json").write_text(listed(TWO))
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
         str(Path(__file__).with_name("resume_order_worker.py")), str(folder / "cases.json"), str(folder)],
        env=os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-500:] + done.stderr[-3000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("name", [case.name for case in TWO if case.name != "odd"])
def test_two_processes_share_the_single_ones_steps(unbroken, two, name):
    shared = [[first[0] + second[0]] for first, second in zip(two[0][name], two[1][name], strict=True)]
    assert shared == unbroken[name.partition("-")[0]]


def test_two_processes_fill_up_an_odd_epoch_from_its_begin(two):
    """accelerate gives every process as many rows: the last step of 21 rows has the epoch's first row once more."""
    first, second = (flat(seen["odd"]) for seen in two)
    for i in range(0, 33, 11):
        epoch = [place for pair in zip(first[i : i + 11], second[i : i + 11], strict=True) for place in pair]
        assert sorted(epoch[:21]) == list(range(21)) and epoch[21] == epoch[0]
