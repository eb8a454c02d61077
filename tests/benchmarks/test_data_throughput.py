"""The rows that are streamed, how memory is watched, the tables, and a quick run that goes on where it stopped."""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import chain
from typing import Any

import pytest

from benchmarks import data_throughput
from benchmarks.resident import Resident, resident
from data_prep.example import Example
from data_prep.images import picture_size
from data_prep.sources import source_rows
from mlplora_vlm.files import read_json

MIB = 2**20


def test_every_row_has_a_picture_file_of_its_own_and_turns(tmp_path):
    sizes = data_throughput.SMALL[:3]
    data_throughput.write_rows(tmp_path, 50, sizes)
    rows = list(source_rows(data_throughput._section(tmp_path, "files")))
    assert len(rows) == 50 and all(isinstance(row, Example) and not row.repairs for row in rows)
    paths = [row.images[0] for row in rows]
    assert len(set(paths)) == 50 and [picture_size(path) for path in paths[:3]] == list(sizes)
    assert {len(row.turns) for row in rows} == {1, 2, 3}


def test_pictures_are_about_as_large_as_photographs(tmp_path):
    data_throughput.draw((640, 480)).save(tmp_path / "one.jpg", quality=85)
    assert 40_000 < (tmp_path / "one.jpg").stat().st_size < 250_000  # COCO's: 160,000 on average
    assert data_throughput.draw((48, 112)).size == (48, 112)


def test_memory_of_a_process_and_its_children_is_seen():
    code = "import sys; x = bytearray(b'x') * (64 << 20); print('ready', flush=True); sys.stdin.read()"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"
    with subprocess.Popen([sys.executable, "-c", outer], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"ready\n"
        found = resident(process.pid)
        process.communicate(b"")
    assert 64 * MIB < found.held < 128 * MIB and 0 < found.mapped < 64 * MIB
    assert resident(process.pid) == Resident()  # it has ended


def _phase(pause: float) -> data_throughput.Steps:
    """Holds 64 MiB more from its second half on."""
    kept = []
    for tenth in range(data_throughput.TENTHS):
        yield tenth
        if tenth == 5:
            kept.append(bytearray(b"x") * (64 * MIB))
        time.sleep(pause)
    return len(kept)


def _broken() -> data_throughput.Steps:
    yield 0
    raise ValueError("so it is")


@pytest.mark.slow
def test_memory_is_watched_in_tenths(capfd):
    found = data_throughput.watched(_phase, 0.5)
    held = found["held"]
    assert found["told"] == 1 and found["seconds"] > 5 and len(held) == data_throughput.TENTHS
    assert min(held[6:]) - max(held[1:5]) > 60 * MIB and max(held[1:5]) - min(held[1:5]) < 10 * MIB
    with pytest.raises(RuntimeError, match="_broken ended with 1"):
        data_throughput.watched(_broken)
    assert "so it is" in capfd.readouterr().err


def made() -> dict[str, Any]:
    """A result as a whole run has it."""
    settings = data_throughput.FULL
    phase = {"seconds": 400.0, "told": 5, "held": [None, *[500 * MIB] * 9], "mapped": [40 * MIB] * 10}
    rate = {"check": 111.0, "load": [{"workers": workers, "rows": 200.0 + workers} for workers in settings["workers"]]}
    waits = [{"workers": workers, "step": 0.25, "share": 0.125} for workers in settings["workers"]]
    return {
        "settings": settings,
        "stream": {"embedded": {"check": phase, "load": phase}},
        "rates": {store: rate for store in settings["stores"]},
        "waiting": {model: waits for model in settings["models"]},
    }


def test_table_says_rates_memory_and_waiting():
    text = data_throughput.table(made())
    assert "200,000 rows" in text
    assert "| check | in the set | 500 | – | 500 | 500 | 40 |" in text
    assert "| as files | 111 | 200 | 201 | 202 |" in text
    assert f"| {data_throughput.DEMO} | 2 | 0.25 | 12.5% |" in text


def test_curves_are_memory_and_pace():
    memory, pace = data_throughput.panels(made())
    assert memory.curves["load, pictures in the set"][20] == [500]
    assert pace.curves["load, pictures as files"] == {0: [200], 1: [201], 2: [202]}


@pytest.mark.slow
def test_quick_run_gives_a_whole_result_and_is_not_run_again(tmp_path, monkeypatch):
    monkeypatch.setattr(data_throughput, "SCRATCH", tmp_path / "scratch")
    assert data_throughput.main(["--quick", "--out", str(tmp_path)]) == 0
    result, quick = read_json(tmp_path / "data_throughput.json"), data_throughput.QUICK
    assert (tmp_path / "data_throughput.png").stat().st_size > 10_000
    phases = result["stream"]["embedded"]
    assert phases["check"]["told"] == quick["rows"] == phases["load"]["told"] + quick["held_back"]
    held = [size for size in chain(phases["check"]["held"], phases["load"]["held"]) if size is not None]
    assert held and min(held) > 100 * MIB and max(held) < 2000 * MIB
    (rate,) = result["rates"].values()
    assert rate["check"] > 0 and [one["workers"] for one in rate["load"]] == list(quick["workers"])
    for one in result["waiting"][data_throughput.TINY]:
        assert one["step"] > 0 and 0 <= one["share"] <= 1
    assert "400 rows" in data_throughput.table(result)
    monkeypatch.setattr(data_throughput, "watched", None)  # nothing is left to be measured
    assert data_throughput.main(["--quick", "--out", str(tmp_path)]) == 0
    assert not (tmp_path / "scratch/quick/data_throughput").exists()
