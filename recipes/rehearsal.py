"""Rehearse a recipe on the CPU: its own settings on the published widths, the whole chain, killed and resumed once.

Widths, head counts, vocabulary, quantization, precision, rank, hidden width, optimizer states, checkpointing and ZeRO
stage are the preset's.  `CUT` and `rehearsed` say what is smaller.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eval_harness.section import OWN, OwnTask
from mlplora_vlm import provenance
from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import read_json, write_json, write_text
from recipes.chain import STAMPS
from recipes.located_yaml import dump
from recipes.recipe import Recipe
from recipes.rehearsal_base import build_base
from recipes.rehearsal_data import write_rows

STEPS, SAVE_STEPS = 2, 1
"""Two checkpoints in all: the first attempt is killed once the first of them is written."""
LARGEST = {
    "train.batch_size": 2,
    "train.gradient_accumulation": 2,
    "train.processes": 2,
    "train.workers": 1,
    "eval.batch_size": 4,
}
"""Numbers of the preset that are lowered to these."""
NEW_TOKENS = 3
"""The longest answer: evaluation repeats one and the same step for each token."""
RESULT, LOG = "rehearsal.json", "rehearsal.log"
STAGES = ("prepare", "leaks", "attach", "before", "train", "after", "collapse", "merge", "verify", "report")


def rehearse(recipe: Recipe, out: Path, base: Path, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Run the whole chain in ``out`` and return what `RESULT` holds; raises `MendableError` where a link fails.

    ``base``: the folder of the cut model, which presets of one recipe share; it is built where it is missing.
    """
    began = time.monotonic()
    made = _base(recipe, base, say)
    write_rows(out / "data", {"train": recipe.data.prompt, "test": recipe.eval.chosen().prompt}, recipe.train.seed)
    small = rehearsed(recipe, out, base)
    cut = made | {"sections": differences(recipe, small)}
    say(f"  {shown(cut)}")
    sections = {key: value for key, value in small.to_dict().items() if key != "preset"}
    write_text(out / "rehearsal.yaml", dump(sections))
    run = out / "run"
    command = ["run", str(out / "rehearsal.yaml"), "--out", str(run)]
    killed = time.monotonic()
    step = _killed_at_first_checkpoint(command, run, out / LOG, say)
    killed_seconds = round(time.monotonic() - killed, 1)
    say(f"  killed after the checkpoint of step {step}; repeating the same command")
    text = _finished(command, out / LOG, say)
    if f"resuming from {run / 'train' / f'checkpoint-{step}'}" not in text:
        raise MendableError(f"the training did not resume from checkpoint-{step}", str(out / LOG), "see the log")
    to = ["--to", f"rehearsal/{recipe.name}", "--base", _base_id(recipe)]
    card = _finished(["card", str(run), *to], out / LOG, say)
    push = _finished(["push", str(run), *to, "--dry-run"], out / LOG, say)
    if "dry run: nothing was sent" not in push or "base_model" not in card:
        raise MendableError("the model could not be prepared for the hub", str(out / LOG), "see the log")
    stamps = {name: read_json(run / STAMPS / f"{name}.json") for name in STAGES}
    verify = stamps["verify"]["output"]
    result = {
        "recipe": recipe.name,
        "preset": recipe.preset,
        "model": recipe.model.id,
        "device": provenance.device(),
        "versions": provenance.versions(),
        "seconds": round(time.monotonic() - began, 1),
        "stages": {name: {key: stamp[key] for key in ("seconds", "peak_memory_mib")} for name, stamp in stamps.items()},
        "killed_after_step": step,
        "killed_seconds": killed_seconds,
        "cut": cut,
        "zero_stage": small.train.zero_stage,
        "processes": small.train.processes,
        "quantization": small.model.quantization,
        "states": small.adapter.generator.states if small.adapter.generated else "float32",
        "steps": stamps["train"]["output"]["steps"],
        "verify": {
            key: verify[key]
            for key in ("dtype", "collapse_error", "collapse_bound", "merge_error", "merge_bound", "tensors")
        }
        | {key: verify["answers"][key] for key in ("n", "different", "explained")},
    }
    write_json(out / RESULT, result)
    return result


def rehearsed(recipe: Recipe, out: Path, base: Path) -> Recipe:
    """The recipe on the cut ``base`` and the rows in ``out``, with fewer steps and smaller batches."""
    task, data = recipe.eval.chosen(), out / "data"
    train = replace(
        recipe.train,
        max_steps=STEPS,
        save_steps=SAVE_STEPS,
        keep_checkpoints=2,
        eval_steps=0,
        keep_best=False,
        offload=False,
        liger_kernel=False,
        report_to=(),
        **_lowered(recipe, "train"),
    )
    own = OwnTask(
        "table",
        "test",
        str(data),
        prompt=task.prompt,
        metric=task.metric,
        also=task.also,
        max_new_tokens=min(task.max_new_tokens, NEW_TOKENS),
        prior_split="train",
    )
    table = {"source": "table", "split": "train", "folder": str(data), "limit": 0, "epochs": 1.0, "weight": 0.0}
    table |= {"file": None, "pictures": None, "columns": {}, "repo": None, "config": None, "mixed_with": {}}
    attention = recipe.model.attn_implementation
    return replace(
        recipe,
        name=f"{recipe.name}-rehearsal",
        model=replace(
            recipe.model,
            id=str(base),
            revision=None,
            attn_implementation="auto" if attention == "flash_attention_2" else attention,
        ),
        data=replace(recipe.data, **table, streaming=False),  # type: ignore[arg-type]
        adapter=replace(recipe.adapter, init_from=None),
        train=train,
        eval=replace(
            recipe.eval, task=OWN, own=own, folder=None, limit=0, balance=False, judge=None, **_lowered(recipe, "eval")
        ),
        hardware=replace(recipe.hardware, gpus=0, memory_gib=0),
        publish=replace(recipe.publish, to="none", public=False),
    )


def differences(recipe: Recipe, small: Recipe) -> dict[str, list[Any]]:
    """``section.key`` → the recipe's value and the rehearsal's, for every number and switch that differs."""
    keys = (*LARGEST, "train.max_steps", "train.epochs", "train.save_steps", "train.offload", "eval.limit")
    found = {key: [_value(one, key) for one in (recipe, small)] for key in keys}
    found["max_new_tokens"] = [one.eval.chosen().max_new_tokens for one in (recipe, small)]
    return {key: pair for key, pair in found.items() if pair[0] != pair[1]}


def shown(cut: Mapping[str, Any]) -> str:
    """What was cut, in a line."""
    parts = [f"{part} layers {whole} -> {left}" for part, (whole, left) in cut["layers"].items()]
    parts += [f"{key} {whole} -> {left}" for key, (whole, left) in cut["sections"].items()]
    tokenizer = ["a small tokenizer in place of the model's"] if cut["stand_in_tokenizer"] else []
    return "; ".join(["cut: " + ", ".join(parts), f"{cut['parameters']:,} random weights", *tokenizer])


def _base(recipe: Recipe, base: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Build the cut model unless it is there; return what was cut of it."""
    from recipes.chain import in_own_process

    facts = base.with_suffix(".json")
    if facts.is_file():
        made: dict[str, Any] = read_json(facts)
        return made
    began = time.monotonic()
    made, memory = in_own_process(build_base, recipe, base)
    say(f"  [build] done in {time.monotonic() - began:.0f} s, at most {memory:.0f} MiB a process")
    write_json(facts, made)
    return made


def _lowered(recipe: Recipe, section: str) -> dict[str, Any]:
    return {
        key.partition(".")[2]: min(most, _value(recipe, key))
        for key, most in LARGEST.items()
        if key.startswith(f"{section}.")
    }


def _value(recipe: Recipe, key: str) -> Any:
    section, _, name = key.partition(".")
    return getattr(getattr(recipe, section), name)


def _base_id(recipe: Recipe) -> str:
    return recipe.publish.base or (recipe.model.id if "/" in recipe.model.id.strip("/.~") else "rehearsal/base")


def _killed_at_first_checkpoint(command: Sequence[str], run: Path, log: Path, say: Callable[[str], None]) -> int:
    """Start the chain and kill all of its processes once a checkpoint is whole; return that checkpoint's step."""
    running, first = _Running(command, log, say), run / "train" / f"checkpoint-{SAVE_STEPS}"
    while running.process.poll() is None:
        if _is_whole(first):
            running.kill()
            return SAVE_STEPS
        time.sleep(0.2)
    raise running.failure("ended before it wrote a checkpoint")


def _is_whole(checkpoint: Path) -> bool:
    from mlplora_vlm.checkpoint import check_checkpoint

    try:
        check_checkpoint(checkpoint)
    except MendableError:  # still being written
        return False
    return True


def _finished(command: Sequence[str], log: Path, say: Callable[[str], None]) -> str:
    """Run a command to its end and return what it printed; raises `MendableError` where it fails."""
    running = _Running(command, log, say)
    code = running.wait()
    if code:
        raise running.failure(f"ended with exit code {code}")
    return "\n".join(running.lines)


class _Running:
    """A command of this project in a process of its own; its output goes to the log, a stage's end to ``say``."""

    def __init__(self, command: Sequence[str], log: Path, say: Callable[[str], None]) -> None:
        self.command, self.log, self.lines = list(command), log, list[str]()
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "PRESET": "", "OUT": ""}
        environment["MLPLORA_CACHE"] = str(log.parent.absolute() / "cache")  # another run's answers prove nothing
        self.process = subprocess.Popen(
            [sys.executable, "-m", "recipes", *command],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, args=(say,), daemon=True)
        self._reader.start()

    def _read(self, say: Callable[[str], None]) -> None:
        assert self.process.stdout is not None
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"$ python -m recipes {' '.join(self.command)}\n")
            for line in self.process.stdout:
                self.lines.append(line.rstrip("\n"))
                log.write(line)
                log.flush()
                if line.startswith("[") and "] done in " in line:
                    say(f"  {line.rstrip()}")

    def wait(self) -> int:
        code = self.process.wait()
        self._reader.join(timeout=5)
        return code

    def kill(self) -> None:
        """Kill the command and everything that it started, as the end of a job's time does."""
        import psutil

        parent = psutil.Process(self.process.pid)
        everyone = [*parent.children(recursive=True), parent]
        for process in everyone:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(everyone, timeout=30)
        self.wait()

    def failure(self, what: str) -> MendableError:
        last = [line for line in self.lines if line.strip()][-12:]
        return MendableError(
            f"python -m recipes {self.command[0]} {what}:\n" + "\n".join(f"    {line}" for line in last),
            str(self.log),
            "the preset would fail in the same place on rented hardware; fix it first",
        )
