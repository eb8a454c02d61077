"""The low-memory benchmark on a tiny model, TRL included; and that the goal for a 7B model still computes."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import low_memory
from benchmarks.real_sizes import computed, real_sizes
from mlplora_vlm.files import read_json


@pytest.mark.slow
def test_every_method_trains_and_is_measured(tmp_path: Path) -> None:
    assert low_memory.main(["--quick", "--out", str(tmp_path)]) == 0
    methods = read_json(tmp_path / "low_memory.json")["methods"]
    assert list(methods) == list(low_memory.METHODS)
    held = {name: row["peak"]["weights"] for name, row in methods.items()}
    assert held["NF4 LoRA"] == held[low_memory.TRL_NF4] < held[low_memory.REFERENCE] < held["fp32 LoRA"]
    states = {name: row["peak"]["states"] for name, row in methods.items()}
    assert states["NF4 LoRA"] < states["NF4 OP-LoRA, hidden 4"] < states["NF4 OP-LoRA"]
    for name, row in methods.items():
        assert row["seconds"]["median"] > 0 and 0 <= row["profile"]["optimizer"] <= 1, name
        assert (row["profile"]["to_numbers"] > 0) == ("NF4" in name), name
    assert (tmp_path / "low_memory.png").stat().st_size > 10_000


def test_at_the_recipes_own_sizes_a_step_takes_at_most_a_tenth_more() -> None:
    found = real_sizes()
    assert [one["preset"] for one in found] == ["lora-80gb", "qlora-24gb", "zero3-8gpu"]
    assert all(1 <= ratio <= 1.1 for one in found for r in one["ratios"].values() for ratio in (r["here"], r["gpu"]))
    assert computed(found).count("\n") == 1 + 2 * len(found)
