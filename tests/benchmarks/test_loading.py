"""Two processes that load the same model share its pages; a table can be made of what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import loading

MIB = 2**20


@pytest.mark.slow
def test_two_processes_hold_one_copy(tmp_path: Path) -> None:
    sizes = {"hidden_size": 1024, "intermediate_size": 2816, "layers": 6, "vocabulary": 8000}
    size = loading.make(tmp_path, sizes)
    assert size > 150 * MIB
    found = loading.held(str(tmp_path), "bfloat16", 2)
    assert found["end_held"] < size / 2, "a private copy in each would be twice the files"
    assert found["end_mapped"] < 1.5 * size


def test_the_table_counts_copies() -> None:
    row = {"held": 0, "mapped": 90 * MIB, "end_held": 0, "end_mapped": 100 * MIB}
    rows = [
        {"dtype": "bfloat16", "processes": 2, **row},
        {"dtype": "float32", "processes": 1, **row, "held": 200 * MIB},
    ]
    told = loading.table({"bytes": 100 * MIB, "rows": rows}).splitlines()
    assert told[2].endswith("| 2 | 0 | 100 | 1.00 |") and told[3].endswith("| 1 | 200 | 100 | 1.50 |")
