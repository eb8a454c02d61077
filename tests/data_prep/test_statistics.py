"""The figures of a prepared set: they agree with counting by hand, and pictures stay on disk."""

from __future__ import annotations

from random import Random

import numpy as np
import pyarrow as pa
import pytest
from datasets import Dataset, load_from_disk
from prepared_rows import counted, found, part, record

from data_prep.check import SHOWN
from data_prep.prepared import Counts
from data_prep.record import features
from data_prep.statistics import padding_share


def test_rows_are_accounted_for_by_source_and_reason():
    turned, both = record(repairs=("turned",), where="row 1"), record(repairs=("turned", "markers"))
    mine = part(both, turned, record(), record(held_back=True))
    counts = {"mine": Counts(19, 5, 4, {"too long": 2, "empty answer": 8}), "other": counted(1, missing=1)}
    other = part(record(repairs=(SHOWN,), where="row 7"))
    result = found({"mine": mine, "other": other}, counts=counts)
    assert result["sources"]["mine"] == {
        "read": 19,
        "unused": 5,
        "accepted": 4,
        "repaired": 2,
        "held_back": 1,
        "rejected": {"empty answer": 8, "too long": 2},
        "reject_rate": 10 / 14,
    }
    assert list(result["sources"]["mine"]["rejected"]) == ["empty answer", "too long"]
    assert result["repairs"] == [
        {"repair": "turned", "rows": 2, "where": ["rows.json, row 0", "row 1"]},
        {"repair": "markers", "rows": 1, "where": ["rows.json, row 0"]},
        {"repair": SHOWN, "rows": 1, "where": ["row 7"]},
    ]
    assert result["too_long"] == {"cut": 0, "dropped": 2, "shrunk": 1}


def test_tokens_and_pictures_are_those_of_the_training_rows():
    rows = [
        record(10, ((640, 480), (100, 50)), 3),
        record(20, (), 5),
        record(900, ((1, 1),), 900, held_back=True),
        record(30, ((640, 480),), 4),
    ]
    result = found({"mine": part(*rows)})
    tokens = result["tokens"]
    assert [tokens[kind]["median"] for kind in ("whole", "text", "pictures", "labels")] == [42, 20, 16, 4]
    assert tokens["whole"]["max"] == 46 and tokens["whole"]["mean"] == pytest.approx((42 + 20 + 46) / 3)
    assert result["pictures"]["a_row"]["histogram"] == {"start": 0, "width": 1, "counts": [1, 1, 1], "above": 0}
    sizes = result["pictures"]["sizes"]
    assert (sizes["pictures"], sizes["different"]) == (3, 2)
    assert sizes["width"] == {"min": 100, "median": 640, "p95": 640, "max": 640}
    assert sizes["megapixels"]["min"] == 0.005 and sizes["frequent"] == [[640, 480, 2], [100, 50, 1]]
    assert result["epoch"]["tokens"] == {"whole": 108, "text": 60, "pictures": 48, "labels": 12}
    assert result["epoch"]["label_share"] == pytest.approx(12 / 108)


def test_a_pass_counts_rows_as_often_as_it_shows_them():
    parts = {"a": part(record(10, ()), record(99, (), held_back=True), record(20, ())), "b": part(record(70, ()))}
    result = found(parts, order=np.array([0, 2, 2, 2, 1, 2]), batch_size=2, accumulation=2)
    shares = [(one["source"], one["rows"], one["samples"], one["times"], one["share"]) for one in result["mixture"]]
    assert shares == [("a", 2, 2, 1.0, 2 / 6), ("b", 1, 4, 4.0, 4 / 6)]
    assert [one["token_share"] for one in result["mixture"]] == [pytest.approx(30 / 310), pytest.approx(280 / 310)]
    assert result["epoch"]["samples"] == 6 and result["epoch"]["tokens"]["whole"] == 310
    assert result["tokens"]["whole"]["n"] == 3


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 33])
@pytest.mark.parametrize(("batch_size", "accumulation", "processes"), [(1, 1, 1), (2, 3, 1), (4, 1, 2), (3, 2, 4)])
def test_steps_are_those_that_a_training_takes(rows, batch_size, accumulation, processes):
    batches = [range(start, min(start + batch_size, rows)) for start in range(0, rows, batch_size)]
    rounds = [batches[start : start + processes] for start in range(0, len(batches), processes)]
    steps = len(rounds[::accumulation])
    epoch = found({"a": part(*[record()] * rows)}, None, batch_size, accumulation, processes)["epoch"]
    assert epoch["steps"] == steps and epoch["rows_a_step"] == batch_size * accumulation * processes


@pytest.mark.parametrize("seed", range(20))
def test_padding_is_what_filling_up_each_batch_takes(seed):
    chance = Random(seed)
    lengths = [chance.randint(1, 300) for _ in range(chance.randint(1, 60))]
    size = chance.randint(1, 9)
    batches = [lengths[start : start + size] for start in range(0, len(lengths), size)]
    padded = sum(max(batch) * len(batch) for batch in batches)
    assert padding_share(np.array(lengths), size) == pytest.approx((padded - sum(lengths)) / padded)


def test_grouping_by_length_saves_padding_and_the_seed_decides():
    chance = Random(1)
    rows = part(*[record(chance.choice((10, 20, 400)), ()) for _ in range(500)])
    first, again, other = (found({"a": rows}, batch_size=8, seed=seed)["padding"] for seed in (0, 0, 1))
    assert first == again != other
    assert 0 <= first["grouped"] < first["random"] / 5 and first["random"] > 0.3
    same = found({"a": part(*[record()] * 50)}, batch_size=8)["padding"]
    assert (same["random"], same["grouped"]) == (0, 0)


@pytest.mark.parametrize("seed", range(30))
def test_a_histogram_holds_every_value_once(seed):
    chance = Random(seed)
    high = chance.choice((1, 5, 40, 3000))
    values = [chance.randint(0, high) for _ in range(chance.randint(1, 200))] + [9000] * chance.randint(0, 1)
    drawn = found({"a": part(*[record(value, ()) for value in values])})["tokens"]["text"]["histogram"]
    start, width, counts = drawn["start"], drawn["width"], drawn["counts"]
    assert sum(counts) + drawn["above"] == len(values) and 1 <= len(counts) <= 34
    for place, number in enumerate(counts):
        low = start + width * place
        assert number == sum(low <= value < low + width for value in values)


def test_sets_without_rows_or_pictures_have_figures_too():
    result = found({"a": part(record()).select([])}, counts={"a": counted(0, missing=3)})
    assert result["tokens"]["whole"] == {} and result["epoch"]["steps"] == 0 and result["pictures"]["sizes"] == {}
    assert found({"a": part(record(pictures=()))})["pictures"]["sizes"] == {}


def test_embedded_pictures_stay_on_disk(tmp_path):
    rows = [
        record(pictures=((8, 8), (9, 9)), data=bytes([number]) * 400_000, held_back=number == 3) for number in range(40)
    ]
    Dataset.from_list(rows, features=features()).save_to_disk(str(tmp_path / "set"))
    there = load_from_disk(str(tmp_path / "set"))
    pool = pa.proxy_memory_pool(pa.default_memory_pool())
    before = pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        result = found({"a": there})
    finally:
        pa.set_memory_pool(before)
    assert result["pictures"]["sizes"]["pictures"] == 78
    assert pool.max_memory() < 2_000_000  # of 32,000,000 that are on disk


def test_selected_rows_are_counted_as_written_ones():
    whole = part(*[record(number, repairs=("mended",) * (number % 2)) for number in range(1, 30)])
    chosen = list(range(5, 25, 3))
    selected, written = whole.select(chosen), part(*[whole[number] for number in chosen])
    assert found({"a": selected}) == found({"a": written})
