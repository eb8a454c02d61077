"""The memory benchmark on a small model; and the bound itself where a shard is large beside the libraries."""

from __future__ import annotations

import pytest

from benchmarks import merge_memory


def test_the_model_is_made_in_several_files_that_merge(tmp_path):
    settings = merge_memory.QUICK | {"width": 64, "middle": 128, "layers": 1, "vocabulary": 1000, "file": 100_000}
    made = merge_memory.make(settings, tmp_path)
    assert made["files"] > 1 and made["largest_file"] < made["bytes"]
    assert merge_memory.by_file(tmp_path) > 0
    names = {path.name for path in (tmp_path / "base").glob("model*")}
    assert names == {path.name for path in (tmp_path / "merged").glob("model*")}


def test_the_table_states_the_bound():
    ways = {
        name: {"peak": peak * 2**30, "seconds": 1.0} for name, peak in (("libraries alone", 1), ("file by file", 2))
    }
    model = {"bytes": 2 * 10**9, "files": 8, "largest_file": 2**28}
    said = merge_memory.table({"model": model, "ways": ways, "bound": 2**30 + 2**29})
    assert "is 1.50 GiB" in said and "| file by file | 2.00 | 1.00 | 1 |" in said


@pytest.mark.slow
def test_peak_memory_stays_near_the_largest_file(tmp_path):
    """Files of 64 MiB, a model of 0.6 GB: beyond the libraries, less than two files and a layer's float32 copies."""
    settings = merge_memory.FULL | {"width": 1024, "middle": 4096, "layers": 16, "file": 64 * 2**20}
    made, _ = merge_memory.in_own_process(merge_memory.make, settings, tmp_path)
    assert made["bytes"] > 5 * 10**8 > 6 * made["largest_file"]
    _, alone = merge_memory.in_own_process(merge_memory.imports, tmp_path)
    _, peak = merge_memory.in_own_process(merge_memory.by_file, tmp_path)
    assert peak < 2 * made["largest_file"] + 2**30
    assert peak - alone < 2 * made["largest_file"] + 2**28
