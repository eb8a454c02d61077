"""One node of a run with stages that only write files; imported and run as a process of its own by test_nodes.py."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import recipes.chain
import recipes.stages
from mlplora_vlm.errors import MendableError
from recipes.__main__ import main
from recipes.chain import Stage


def act(stage: str, out: Path) -> None:
    """Note the call, then do what the files beside the output folder ask of this stage on this node."""
    rank = os.environ["NODE_RANK"]
    with (out.parent / "calls").open("a") as file:
        file.write(f"{stage} on {rank}\n")
    if (out.parent / f"hang {stage} on {rank}").exists():
        with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"]) as child:
            (out.parent / f"child of {rank}").write_text(str(child.pid))
            try:
                child.wait()
            except BaseException:
                child.terminate()
                raise
    if (out.parent / f"fail {stage} on {rank}").exists():
        raise MendableError(f"bad disk at {stage} on node {rank}")


def prepare(recipe, out):
    act("prepare", out)
    return {}


def train(recipe, out):
    """Meet the other node, as torchrun does."""
    (out / "train").mkdir(exist_ok=True)
    (out / "train" / os.environ["NODE_RANK"]).touch()
    act("train", out)
    while not all((out / "train" / rank).exists() for rank in "01"):
        time.sleep(0.05)
    return {}


def report(recipe, out):
    act("report", out)
    return {"verdict": {"sentence": "all is well", "status": "looks"}}


recipes.chain.PRELOADED = []
recipes.stages.train = train
recipes.stages.STAGES = (
    Stage("prepare", prepare, ("data",), ()),
    Stage("train", train, ("adapter",), ("prepare",), ("train",), resumes=True),
    Stage("report", report, ("eval",), ("train",)),
)


def start() -> None:
    """The whole command line of the node."""
    sys.exit(main(sys.argv[1:]))
