"""How the nodes of one run agree on what is left to do: each renews a small file on the shared disk.

Node 0 names the run (a new random id for each start) and the stage that it is at. A file that an earlier start left is
never renewed, so the others trust node 0's file only once they have seen it change; node 0 trusts those that carry its
run id. A node that fails leaves its reason, and the file of one that is killed is no longer renewed: either ends the
others.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import STAMP, write_json

TRAINING = "train"
"""The stage that all nodes take part in."""
AGAIN = "give the same command again on every node"
PATIENCE = 5
"""A node that never appeared is waited for this many times as long as one that fell silent."""


class SingleNode:
    """A run on one node: nobody to agree with."""

    def enter(self, stage: str) -> None:
        """Announce the stage whose work begins."""

    def check(self) -> None:
        """Raise `MendableError` where another node failed."""


ALONE = SingleNode()


class Node(SingleNode):
    """One of ``count`` nodes; inside ``with`` its file is renewed, and how the block ends is announced.

    ``stages``: the names of the chain's stages, in order. ``digest``: identifies what is trained.
    ``timeout``: seconds after which a silent node counts as failed.
    """

    def __init__(self, out: Path, stages: Sequence[str], digest: str, count: int, rank: int, timeout: float) -> None:
        self.out, self.rank, self.timeout = out, rank, timeout
        self.later = stages[stages.index(TRAINING) + 1 :]
        self.others = {other: _Watch(self._path(other)) for other in (range(1, count) if rank == 0 else [0])}
        self.waiting = True
        """Whether the others may still be on their way."""
        self._state: dict[str, Any] = {
            "run": "" if rank else uuid4().hex,
            "recipe": f"{count} nodes, training {digest[:12]}",
            "stage": None,
            "ended": False,
            "failed": None,
            "beats": 0,
        }
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> Node:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._write(ended=True, failed=None if error is None else str(error) or type(error).__name__)
        until = time.monotonic() + self.timeout
        while not isinstance(error, KeyboardInterrupt) and time.monotonic() < until and not self._known_to_others():
            time.sleep(self._pause)
        self._stop.set()
        self._thread.join()
        self._write()

    def enter(self, stage: str) -> None:
        """Announce the stage whose work begins."""
        self.waiting = stage != TRAINING
        if stage in self.later:
            self.others = {}
        for watch in self.others.values():
            watch.since = time.monotonic()
        self._write(stage=stage)

    def check(self) -> None:
        """Raise `MendableError` where another node failed, fell silent, or does not appear."""
        for rank, watch in self.others.items():
            state, silent = self._state_of(rank), time.monotonic() - watch.since
            if state is None:
                if silent > PATIENCE * self.timeout and (self.rank or not self.waiting):
                    before = (watch.last or {}).get("failed")
                    raise MendableError(
                        f"node {rank} has not appeared in the output folder within {silent:.0f} s"
                        + (f"; an earlier start of it failed: {before}" if before else ""),
                        str(self.out),
                        f"OUT must be on a disk that all nodes share; {AGAIN}",
                    )
            elif state["failed"]:
                raise MendableError(f"node {rank} failed: {state['failed']}", str(self.out), f"fix that, then {AGAIN}")
            elif silent > self.timeout and not state["ended"]:
                raise MendableError(
                    f"node {rank} has been silent for {silent:.0f} s: it was killed, or lost the disk",
                    str(self.out),
                    AGAIN,
                )

    def follow(self) -> bool:
        """Wait for node 0: True where the training begins, False where there is none left to do.

        Raises `MendableError` as `check` does, and where node 0 trains another recipe or on another number of nodes.
        """
        while True:
            self.check()
            if state := self._state_of(0):
                if state["recipe"] != self._state["recipe"]:
                    raise MendableError(
                        f"expected {self._state['recipe']}, got {state['recipe']} from node 0",
                        str(self.out),
                        "give every node the same command, NNODES and checkout",
                    )
                if state["stage"] == TRAINING:
                    self.waiting = False
                    return True
                if state["ended"] or state["stage"] in self.later:
                    return False
            time.sleep(self._pause)

    @property
    def _pause(self) -> float:
        return min(1.0, self.timeout / 20)

    def _known_to_others(self) -> bool:
        """Whether the others know how this node ended: node 0's are all at their end, node 0 has been seen."""
        states = [self._state_of(rank) for rank in self.others]
        return all(state and (self.rank or state["ended"]) for state in states)

    def _state_of(self, rank: int) -> dict[str, Any] | None:
        """What another node says in this run; None where it has not said anything yet."""
        watch = self.others[rank]
        state = watch.look()
        if self.rank == 0:
            return state if state and state["run"] == self._state["run"] else None
        if state is None or not watch.renewed:
            return None
        if state["run"] != self._state["run"]:
            if not self.waiting:
                raise MendableError("node 0 was started again during the training", str(self.out), AGAIN)
            self._write(run=state["run"])
        return state

    def _renew(self) -> None:
        while not self._stop.wait(min(5.0, self.timeout / 10)):
            self._write()

    def _write(self, **changes: Any) -> None:
        with self._lock:
            self._state |= changes | {"beats": self._state["beats"] + 1}
            if (self.out / STAMP).is_file():  # node 0 makes the folder
                with suppress(OSError):  # a disk that is away for a moment; for longer, and the others notice
                    write_json(self._path(self.rank), self._state)

    def _path(self, rank: int) -> Path:
        return self.out / ".stages" / "nodes" / f"{rank}.json"


class _Watch:
    """Another node's file, and when it last changed."""

    def __init__(self, path: Path) -> None:
        self.path, self.since, self.renewed = path, time.monotonic(), False
        self.last = self._read()

    def look(self) -> dict[str, Any] | None:
        """What the file says; `renewed` from its first change on."""
        now = self._read()
        if now and now != self.last:
            self.last, self.since, self.renewed = now, time.monotonic(), True
        return self.last

    def _read(self) -> dict[str, Any] | None:
        with suppress(OSError, ValueError):  # not there yet
            state: dict[str, Any] = json.loads(self.path.read_text("utf-8"))
            return state
        return None


def node_timeout() -> float:
    """Seconds without a sign after which a node counts as failed, from NODE_TIMEOUT."""
    text = os.environ.get("NODE_TIMEOUT", "120")
    with suppress(ValueError):
        if 1 <= (seconds := float(text)) <= 86_400:
            return seconds
    raise MendableError(f"expected 1 to 86400 seconds, got {text!r}", "environment variable NODE_TIMEOUT", "set it so")
