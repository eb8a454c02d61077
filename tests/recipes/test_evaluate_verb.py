"""`evaluate`: one process or several, killed or not, the same result; mistakes before any model is loaded."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recipes.__main__ import main

ROOT = Path(__file__).parents[2]
TIMES = ("seconds", "samples_per_second", "processes")
WORDS = ["evaluate", "demo/tiny-llava", "--tasks", "shapes_test", "--controls", "blank", "--batch-size", "4"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def result(folder: Path) -> dict:
    found = json.loads((folder / "demo-tiny-llava" / "shapes_test" / "result.json").read_text())
    return {key: value for key, value in found.items() if key not in TIMES}


def answers(folder: Path) -> list[str]:
    return [(folder / "demo-tiny-llava" / "shapes_test" / f"predictions{x}.jsonl").read_text() for x in ("", "-blank")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert main([*WORDS, "--out", str(folder)]) == 0
    return folder


@pytest.mark.slow
def test_killed_at_five_random_moments(whole, tmp_path):
    chance, kills = random.Random(0), 0
    journals = tmp_path / "demo-tiny-llava" / "shapes_test" / ".answers"
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-m", "recipes", *WORDS, "--out", str(tmp_path)],
            cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        before = lines(journals)
        wanted = before + chance.randint(1, 20)
        while process.poll() is None and lines(journals) < wanted:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 3 or (journals.parent / "result.json").exists()
    assert main([*WORDS, "--out", str(tmp_path)]) == 0
    assert result(tmp_path) == result(whole) and answers(tmp_path) == answers(whole)


def lines(journals: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in journals.glob("*.jsonl")) if journals.is_dir() else 0


@pytest.mark.slow
def test_two_processes_give_the_result_of_one(whole, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "recipes",
         *WORDS, "--out", str(tmp_path)],
        cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert result(tmp_path) == result(whole) and answers(tmp_path) == answers(whole)
    assert done.stdout.count("results, and") == 1  # the first process speaks for all
    found = json.loads((tmp_path / "demo-tiny-llava" / "shapes_test" / "result.json").read_text())
    assert found["processes"] == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["m", "--tasks", "shape_test"], "did you mean 'shapes_test'"),
        (["m", "--tasks", "vqav2_val", "--data", "nowhere"], "nowhere/vqav2"),
        (["m", "--tasks", "shapes_test", "--folder", "shapes=x"], "no TASK=FOLDER"),
        (["a/b/m", "c/b/m", "--tasks", "shapes_test"], "two models are called b-m"),
    ],
)
def test_mistakes_are_told_at_once(words, says, capsys):
    assert main(["evaluate", *words]) == 2
    assert says in capsys.readouterr().err
