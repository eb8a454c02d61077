"""How the training processes are started: torchrun on one node or on several (``python -m recipes.launch``)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from recipes.recipe import Recipe


def nodes() -> tuple[int, int]:
    """(number of nodes, this node's rank) from NNODES and NODE_RANK; (1, 0) where they are not set."""
    return int(os.environ.get("NNODES", "1")), int(os.environ.get("NODE_RANK", "0"))


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
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main

    try:
        main(arguments)
    except ChildFailedError as error:
        return max(failure.exitcode for failure in error.failures.values()) or 1
    return 0


def train_environment(recipe: Recipe) -> dict[str, str]:
    """The environment of the training processes: threads shared out, and no GPU told to DeepSpeed."""
    import torch

    added = {"OMP_NUM_THREADS": str(max(1, len(os.sched_getaffinity(0)) // recipe.train.processes))}
    if not torch.cuda.is_available():
        added["DS_ACCELERATOR"] = "cpu"
    return added | {"TOKENIZERS_PARALLELISM": "false"} | dict(os.environ)


if __name__ == "__main__":
    sys.exit(torchrun(sys.argv[1:]))
