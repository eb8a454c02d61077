"""Two nodes, dry: each prints the torchrun command that it would run, by hand and through the SLURM file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRUN = """#!/usr/bin/env bash
shift  # --kill-on-bad-exit=1
for node in 0 1; do SLURM_NODEID=$node "$@"; done
"""
SCONTROL = """#!/usr/bin/env bash
[ "$*" = "show hostnames alpha-[1-2]" ] && printf 'alpha-1\\nalpha-2\\n'
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """One with a pretended SLURM, and none of the outer run's own variables."""
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    outer = {key: value for key, value in os.environ.items() if not key.startswith(("MASTER_", "NODE_", "NNODES"))}
    return outer | {
        "MLPLORA_PYTHON": sys.executable,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PRESET": "zero3-8gpu",
        "HF_HUB_OFFLINE": "1",
    }


def torchrun_lines(command: list[str], environment: dict[str, str]) -> list[str]:
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return re.findall(r"torchrun .*", done.stdout)


def wanted(node: int, address: str, port: int, out: str) -> str:
    meeting = f"--nnodes=2 --node_rank={node} --master_addr={address} --master_port={port}"
    return f"torchrun {meeting} --nproc_per_node=4 -m recipes train {out}"


ARGUMENTS = ["train.processes=4", "--dry-run"]


@pytest.mark.slow
def test_each_node_starts_its_own_part(environment: dict[str, str]) -> None:
    meeting = {"NNODES": "2", "MASTER_ADDR": "node0", "MASTER_PORT": "29400", "OUT": "/shared/out"}
    for node in (0, 1):
        found = torchrun_lines(
            ["bash", "recipes/llava_cars_projector.sh", *ARGUMENTS], environment | meeting | {"NODE_RANK": str(node)}
        )
        assert found == [wanted(node, "node0", 29400, "/shared/out")]


@pytest.mark.slow
def test_slurm_starts_the_same_shell_file_on_every_node(environment: dict[str, str]) -> None:
    job = {
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "alpha-[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_SUBMIT_DIR": str(ROOT),
    }
    command = ["bash", "recipes/slurm.sbatch", "llava_cars_projector", *ARGUMENTS]
    out = str(ROOT / "out/llava_cars_projector-7")
    environment.pop("OUT", None)
    assert torchrun_lines(command, environment | job) == [wanted(node, "alpha-1", 29500, out) for node in (0, 1)]
