"""Two nodes on one machine agree on what is left to do, and a failed one ends the other with its reason."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import claim_folder, read_json, write_json
from recipes.launch import nodes
from recipes.nodes import PATIENCE, node_timeout

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
TIMEOUT = 4.0
ENDING = TIMEOUT + 25
"""Seconds in which a failure must have reached the other node: the timeout, and two slow interpreters."""


class Nodes:
    """Starts the two nodes' processes, and ends what is left of them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.started = folder, []

    def start(self, rank: int, *words: str, timeout: float = TIMEOUT) -> subprocess.Popen[str]:
        paths = f"{Path(__file__).parent}{os.pathsep}{ROOT}"
        told = {"NNODES": "2", "NODE_RANK": str(rank), "NODE_TIMEOUT": str(timeout), "PYTHONPATH": paths}
        command = [sys.executable, "-c", "import node_process; node_process.start()", "run", "recipes/llava_vqa.yaml"]
        command += ["--preset", "smoke", "--out", str(self.folder / "out"), *words]
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | told, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.started.append(process)
        return process

    def both(self) -> list[subprocess.Popen[str]]:
        return [self.start(0), self.start(1)]

    def ask(self, *names: str) -> None:
        for name in names:
            (self.folder / name).touch()

    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def wait_for_call(self, *calls: str) -> None:
        until = time.monotonic() + 60
        while not set(calls) <= set(self.calls()):
            assert time.monotonic() < until, self.calls()
            time.sleep(0.05)

    def kill_children(self) -> None:
        for path in self.folder.glob("child of *"):
            with suppress(ProcessLookupError):
                os.kill(int(path.read_text()), 9)


@pytest.fixture
def run(tmp_path):
    found = Nodes(tmp_path)
    yield found
    for process in found.started:
        process.kill()
        process.wait()
    found.kill_children()


def ended(process: subprocess.Popen[str], seconds: float = 60) -> tuple[int, str]:
    said, _ = process.communicate(timeout=seconds)
    return process.returncode, said


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_both_train_and_the_same_command_again_ends_both(run):
    for process in run.both():
        status, said = ended(process)
        assert status == 0, said
    assert sorted(run.calls()) == ["prepare on 0", "report on 0", "train on 0", "train on 1"]
    first, second = run.both()
    assert ended(first)[0] == 0
    status, said = ended(second, ENDING)
    assert status == 0 and "no training is left to do" in said
    assert len(run.calls()) == 4


def test_the_other_node_may_start_after_the_first_has_nothing_left_to_do(run):
    for process in run.both():
        assert ended(process)[0] == 0
    first = run.start(0)
    time.sleep(TIMEOUT / 2)
    assert ended(run.start(1), ENDING)[0] == 0 and ended(first)[0] == 0


def test_a_run_that_was_killed_in_training_is_resumed_by_both(run):
    run.ask("hang train on 0", "hang train on 1")
    killed = run.both()
    run.wait_for_call("train on 0", "train on 1")
    for process in killed:
        process.kill()
        process.wait()
    until = time.monotonic() + 20
    while any(alive(int(path.read_text())) for path in run.folder.glob("child of *")):
        assert time.monotonic() < until, "a stage outlives the run that was killed"
        time.sleep(0.1)
    for path in run.folder.glob("hang *"):
        path.unlink()
    first, second = run.both()
    status, said = ended(first)
    assert status == 0 and "[prepare] done before" in said and "[train] goes on" in said
    assert ended(second)[0] == 0
    assert run.calls().count("train on 1") == 2


@pytest.mark.parametrize("stage", ["prepare", "train"])
def test_what_fails_on_node_0_ends_the_other_with_its_reason(run, stage):
    run.ask(f"fail {stage} on 0", "hang train on 1")
    first, second = run.both()
    status, said = ended(first, 60)
    assert status == 2 and "Traceback" not in said
    status, said = ended(second, ENDING)
    assert status == 2 and f"node 0 failed: bad disk at {stage} on node 0" in said and "Traceback" not in said
    if stage == "train" and (run.folder / "child of 1").exists():
        assert not alive(int((run.folder / "child of 1").read_text())), "its training goes on"


def test_what_fails_on_node_1_ends_node_0_with_its_reason(run):
    run.ask("fail train on 1", "hang train on 0")
    first, second = run.both()
    assert ended(second)[0] == 2
    status, said = ended(first, ENDING)
    assert status == 2 and "node 1 failed: bad disk at train on node 1" in said and "Traceback" not in said
    assert not alive(int((run.folder / "child of 0").read_text())), "its training goes on"
    assert "node 1 failed" in (run.folder / "out" / "run.log").read_text()


def test_node_1_that_fails_at_once_ends_node_0_while_that_prepares(run):
    run.ask("hang prepare on 0")
    first, second = run.start(0), run.start(1, "adapter.rank=5")
    status, said = ended(second, ENDING)
    assert status == 2 and "from node 0" in said
    status, said = ended(first, ENDING)
    assert status == 2 and "node 1 failed" in said
    assert run.calls() == ["prepare on 0"]


@pytest.mark.parametrize("killed", [0, 1])
def test_a_node_that_is_killed_ends_the_other(run, killed):
    run.ask("hang train on 0", "hang train on 1")
    both = run.both()
    run.wait_for_call("train on 0", "train on 1")
    both[killed].kill()
    status, said = ended(both[1 - killed], ENDING)
    assert status == 2 and f"node {killed} has been silent" in said


def test_files_of_an_earlier_start_are_not_taken_for_node_0(run):
    out = run.folder / "out"
    claim_folder(out)
    left = {"run": "old", "recipe": "", "stage": "train", "ended": False, "failed": None, "beats": 9}
    write_json(out / ".stages" / "nodes" / "0.json", left)
    status, said = ended(run.start(1, timeout=1.0), PATIENCE + 25)
    assert status == 2 and "node 0 has not appeared" in said and not run.calls()


def test_a_node_that_never_comes_ends_node_0_at_the_training(run):
    status, said = ended(run.start(0, timeout=1.0), PATIENCE + 60)
    assert status == 2 and "node 1 has not appeared" in said and "report on 0" not in run.calls()
    assert "has not appeared" in read_json(run.folder / "out" / ".stages" / "nodes" / "0.json")["failed"]


@pytest.mark.parametrize(
    ("variables", "where"),
    [
        ({"NNODES": "two"}, "NNODES"),
        ({"NNODES": "0"}, "NNODES"),
        ({"NNODES": "1:2"}, "NNODES"),
        ({"NNODES": "2", "NODE_RANK": "2"}, "NODE_RANK"),
        ({"NNODES": "2", "NODE_RANK": "-1"}, "NODE_RANK"),
    ],
)
def test_variables_that_make_no_sense_are_named(variables, where, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(MendableError) as caught:
        nodes()
    assert where in caught.value.where and variables[where] in caught.value.what


@pytest.mark.parametrize("text", ["soon", "0", "nan", "-3"])
def test_a_timeout_that_makes_no_sense_is_named(text, monkeypatch):
    monkeypatch.setenv("NODE_TIMEOUT", text)
    with pytest.raises(MendableError, match=text) as caught:
        node_timeout()
    assert "NODE_TIMEOUT" in caught.value.where
