"""Runs the stages of a recipe in order: each leaves a stamp, and the same command again goes on where it stopped."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlplora_vlm.errors import MendableError, did_you_mean
from mlplora_vlm.files import claim_folder, digest, read_json, write_json
from recipes.nodes import ALONE, SingleNode
from recipes.own_files import OwnFiles
from recipes.recipe import Recipe, load_resolved

STAMPS = ".stages"
"""The folder in the output folder that holds a stamp for each finished stage."""

Work = Callable[[Recipe, Path], dict[str, Any]]
FORMER_STAMPS = (".stages/*.json", ".stages/*.started")
"""What proves that a folder is a chain's output folder, if it is older than `mlplora_vlm.files.STAMP`."""


PRELOADED = ["recipes.heavy"]
"""What the fork server imports once, so that each stage starts at once."""
MOMENT = "%Y-%m-%dT%H:%M:%S%z"
"""How a stamp writes a moment."""
GRACE = 60
"""Seconds for a stage's work to end once it is told to."""


@dataclass(frozen=True)
class Stage:
    """One link of the chain."""

    name: str
    work: Work
    """Does the work in its own process and returns what the result file needs of it."""
    sections: tuple[str, ...]
    """Recipe sections that the work depends on."""
    after: tuple[str, ...]
    """Stages whose results it uses."""
    leaves: tuple[str, ...] = ()
    """What it writes in the output folder, removed before the work is done anew."""
    resumes: bool = False
    """Goes on with what an interrupted attempt left, where the recipe is still the same."""


class Chain:
    """The stages of one recipe in one output folder."""

    def __init__(self, stages: Sequence[Stage], recipe: Recipe, out: Path) -> None:
        self.stages, self.recipe, self.out = {stage.name: stage for stage in stages}, recipe, out
        begun = [s for s in stages if self._started_path(s.name).exists() or self._stamp_path(s.name).exists()]
        self.files = OwnFiles(out, *([place for s in some for place in s.leaves] for some in (stages, begun)))

    def run(
        self,
        start: str | None = None,
        only: str | None = None,
        force: bool = False,
        until: str | None = None,
        node: SingleNode = ALONE,
    ) -> dict[str, Any]:
        """Runs what is not done yet and returns every stage's stamp.

        ``start``: from this stage on everything is done anew; ``only``: this stage alone, anew; ``until``: no stage
        after this one; ``force``: all anew, or leave to throw away a training of another recipe; ``node``: tells other
        nodes of each stage, and ends the run where one of them failed.  Raises
        `MendableError` where that is refused, and where the folder or what would be removed from it is not the chain's.
        """
        for name in filter(None, (start, only, until)):
            self._known(name)
        names = list(self.stages)
        names = names[: names.index(until) + 1] if until else names
        anew = set(names[names.index(start) :] if start else [only] if only else names if force else [])
        claim_output(self.out)
        with locked(self.out):
            self._refuse_other_training(force)
            self.files.refuse_others(self._cleared([only] if only else names, anew))
            self.recipe.dump_resolved(self.out / "resolved.yaml")
            for name in [only] if only else names:
                self._stage(self.stages[name], name in anew, node)
            return {name: self.stamp(name) for name in names}

    def digest(self, name: str) -> str:
        """What a stage's result hangs on: its recipe sections, and those of the stages before it."""
        stage, whole = self.stages[name], self.recipe.to_dict()
        parts = [
            {section: whole[section] for section in stage.sections},
            [self.digest(before) for before in stage.after],
        ]
        return digest([name, parts])

    def stamp(self, name: str) -> dict[str, Any]:
        """A finished stage's stamp (see `_stage`); empty where it never finished.  Raises where it is damaged."""
        path, fix = self._stamp_path(name), "remove it: the stage is then done again"
        if not path.is_file():
            return {}
        try:
            stamp: dict[str, Any] = read_json(path, dict)
        except MendableError as error:
            raise MendableError(error.what, error.where, fix) from None
        kinds = {"digest": str, "id": int, "after": dict, "output": dict}
        if wrong := [key for key, kind in kinds.items() if not isinstance(stamp.get(key), kind)]:
            raise MendableError(f"{path.name} is no stamp of a finished stage: see {', '.join(wrong)}", str(path), fix)
        return stamp

    def done(self, name: str) -> bool:
        """Whether the stage finished with this recipe, on what the stages before it last made, and all is there."""
        stage, stamp = self.stages[name], self.stamp(name)
        there = all((self.out / left).exists() for left in stage.leaves)
        if not there or stamp.get("digest") != self.digest(name):
            return False
        ids = stamp["after"]
        return all(self.done(before) and ids.get(before) == self.stamp(before)["id"] for before in stage.after)

    def _stage(self, stage: Stage, anew: bool, node: SingleNode) -> None:
        if not anew and self.done(stage.name):
            print(f"[{stage.name}] done before", flush=True)
            return
        for before in stage.after:
            if not self.done(before):
                raise MendableError(
                    f"stage {stage.name} needs stage {before}, which has not finished with this recipe",
                    str(self.out),
                    f"run it with --from {before}, or without --only",
                )
        goes_on = self._goes_on(stage, anew)
        if not goes_on:
            self.files.refuse_others(stage.leaves)
            for left in stage.leaves:
                self.files.remove(left)
        self._stamp_path(stage.name).unlink(missing_ok=True)
        started = self._started_path(stage.name)
        started.parent.mkdir(parents=True, exist_ok=True)
        started.write_text(self.digest(stage.name))
        print(f"[{stage.name}] {'goes on' if goes_on else 'starts'}", flush=True)
        node.enter(stage.name)
        began, begun = time.strftime(MOMENT), time.perf_counter()
        with self.files.writing():
            output, memory = in_own_process(stage.work, self.recipe, self.out, node)
        seconds = time.perf_counter() - begun
        self.finish(stage.name, output, began, seconds, memory)
        print(f"[{stage.name}] done in {seconds:.0f} s, at most {memory:.0f} MiB a process", flush=True)

    def finish(self, name: str, output: dict[str, Any], began: str, seconds: float, memory: float) -> None:
        """Write the stamp of a stage that has ended; ``memory``: its peak in MiB."""
        write_json(
            self._stamp_path(name),
            {
                "digest": self.digest(name),
                "id": time.time_ns(),
                "after": {before: self.stamp(before)["id"] for before in self.stages[name].after},
                "started": began,
                "seconds": round(seconds, 1),
                "peak_memory_mib": round(memory),
                "finished": time.strftime(MOMENT),
                "output": output,
            },
        )

    def _goes_on(self, stage: Stage, anew: bool) -> bool:
        """Whether an interrupted attempt of the same recipe is resumed."""
        started = self._started_path(stage.name)
        return stage.resumes and not anew and started.is_file() and started.read_text() == self.digest(stage.name)

    def _cleared(self, names: Sequence[str], anew: Collection[str]) -> list[str]:
        """The places that a run of these stages removes."""
        redone: set[str] = set()
        for name in names:
            if name in anew or redone & set(self.stages[name].after) or not self.done(name):
                redone.add(name)
        stages = [self.stages[name] for name in names if name in redone]
        return [p for stage in stages if not self._goes_on(stage, stage.name in anew) for p in stage.leaves]

    def _refuse_other_training(self, force: bool) -> None:
        """Hours of training are not thrown away because a value changed: another recipe wants another folder."""
        path = self.out / "resolved.yaml"
        if force or not path.is_file() or not any((self.out / "train").glob("*")):
            return
        before = Chain(list(self.stages.values()), load_resolved(path), self.out)
        if before.digest("train") == self.digest("train"):
            return
        changed = [
            f"{key} was {old!r}, is {new!r}"
            for key, old, new in _differences(before.recipe.to_dict(), self.recipe.to_dict())
        ]
        raise MendableError(
            "the output folder holds a training of another recipe: " + "; ".join(changed),
            str(self.out),
            "choose another folder with OUT=…, or --force to train anew in this one",
        )

    def _known(self, name: str) -> None:
        if name not in self.stages:
            raise MendableError(
                f"there is no stage {name!r}{did_you_mean(name, self.stages)}",
                "command line",
                f"stages: {', '.join(self.stages)}",
            )

    def _stamp_path(self, name: str) -> Path:
        return self.out / STAMPS / f"{name}.json"

    def _started_path(self, name: str) -> Path:
        return self._stamp_path(name).with_suffix(".started")


def claim_output(out: Path) -> None:
    """Make a folder a chain's output folder; raise `MendableError` where it holds something else."""
    claim_folder(out, *FORMER_STAMPS)


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keeps a second process away from the output folder; the lock goes with its holder, also with a killed one."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise MendableError(
                f"process {file.read().strip()} is at work in the output folder",
                str(out),
                "wait for it, or choose another folder with OUT=…",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def in_own_process(work: Work, recipe: Recipe, out: Path, node: SingleNode = ALONE) -> tuple[dict[str, Any], float]:
    """(the work's output, its peak resident memory in MiB): a stage's memory goes back when it ends.

    Where ``node.check()`` raises, the work is ended.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with ProcessPoolExecutor(1, context) as pool:
        process = pool.submit(os.getpid).result()
        running = pool.submit(_measured, work, recipe, out)
        try:
            while wait([running], 1.0).not_done:
                node.check()
            return running.result()
        except MendableError:
            if running.running():
                os.kill(process, signal.SIGTERM)
                if wait([running], GRACE).not_done:
                    os.kill(process, signal.SIGKILL)
            raise
        except BrokenProcessPool as error:
            raise MendableError(
                "the stage's process was killed, most likely for want of memory",
                str(out),
                "make room or lower the batch size; the same command goes on from here",
            ) from error


def _measured(work: Work, recipe: Recipe, out: Path) -> tuple[dict[str, Any], float]:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what the work started is ended too
    threading.Thread(target=_end_with_parent, daemon=True).start()
    output = work(recipe, out)
    sys.stdout.flush()
    usage = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return output, usage / 1024


def _end_with_parent() -> None:
    """End this process once the one that runs the chain is gone: nothing may write on behind the next run's back."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)


def _differences(old: Any, new: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in old.keys() | new.keys():
            yield from _differences(old.get(name), new.get(name), f"{key}.{name}".lstrip("."))
    elif old != new:
        yield key, old, new
