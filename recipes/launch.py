"""How the training processes are started: torchrun on one node or on several (``python -m recipes.launch``)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from mlplora_vlm.errors import MendableError
from recipes.recipe import Recipe

NODE_VARIABLES = ("NNODES", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables that say which node this is, and where the nodes meet."""


def nodes() -> tuple[int, int]:
    """(number of nodes, this node's rank) from NNODES and NODE_RANK; (1, 0) where NNODES is not set or 1."""
    count = _whole("NNODES", "1", range(1, 100_000))
    return count, _whole("NODE_RANK", "0", range(count)) if count > 1 else 0


def _whole(name: str, default: str, known: range) -> int:
    text = os.environ.get(name) or default
    if not re.fullmatch(r"\d{1,5}", text) or int(text) not in known:
        raise MendableError(
            f"expected a whole number from {known[0]} to {known[-1]}, got {text!r}",
            f"environment variable {name}",
            "docs/multi_node.md says what the variables mean",
        )
    return int(text)


def train_command(recipe: Recipe, out: Path) -> list[str]:
    """The torchrun command of this node; MASTER_ADDR and MASTER_PORT say where the nodes meet."""
    count, rank = nodes()
    if count == 1:
        meeting = ["--standalone"]
    else:
        address, port = os.environ.get("MASTER_ADDR", "127.0.0.1"), os.environ.get("MASTER_PORT", "29500")
        meeting = [f"--nnodes={count}", f"--node_rank={rank}", f"--master_addr={address}", f"--master_port={port}"]
    processes = f"--nproc_per_node={recipe.train.processes}"
    return [sys.executable, "-m", "recipes.launch", *meeting, processes, "-m", "recipes", "train", str(out)]


def torchrun(arguments: list[str]) -> int:
    """torchrun itself, without its traceback where a training process fails: that one has said why."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main

    try:
        main(arguments)
    except ChildFailedError as error:
        return max(failure.exitcode for failure in error.failures.values()) or 1
    except SignalException as error:
        return 128 + error.sigval
    return 0


def wait_for(command: list[str], environment: dict[str, str]) -> int:
    """Run torchrun; the exit code. It is stopped, with the processes that it started, where this process is."""
    with subprocess.Popen(command, env=environment) as running:
        try:
            return running.wait()
        except BaseException:
            running.terminate()
            raise


def train_environment(recipe: Recipe) -> dict[str, str]:
    """The environment of the training processes: threads shared out, and no GPU told to DeepSpeed."""
    import torch

    added = {"OMP_NUM_THREADS": str(max(1, len(os.sched_getaffinity(0)) // recipe.train.processes))}
    if not torch.cuda.is_available():
        added["DS_ACCELERATOR"] = "cpu"
    return added | {"TOKENIZERS_PARALLELISM": "false"} | dict(os.environ)


if __name__ == "__main__":
    sys.exit(torchrun(sys.argv[1:]))
