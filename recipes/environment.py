"""What this machine lacks for a recipe, found within a second or two and without importing anything heavy."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from data_prep.sources import check_source
from mlplora_vlm.errors import MendableError, MendableErrors
from recipes.publish import missing_for_publishing
from recipes.recipe import Recipe

TRACKERS = {"tensorboard": ("tensorboard", "tensorboardX"), "trackio": ("trackio",), "wandb": ("wandb",)}
"""Any one of the modules will do for transformers' callback."""


def cuda_memory_gib() -> tuple[float, ...]:
    """Memory of each visible CUDA device in GiB, 0 where it is not known; torch is not imported for it.

    Asks nvidia-smi, else counts /dev/nvidia0, 1, …; of $CUDA_VISIBLE_DEVICES the entries up to the first that is no
    device count, as CUDA itself has it.
    """
    cards = _nvidia_smi() or tuple(0.0 for _ in Path("/dev").glob("nvidia[0-9]*"))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None or not cards:
        return cards
    chosen: list[float] = []
    for entry in (part.strip() for part in visible.split(",")):
        if entry.isdigit() and int(entry) < len(cards):
            chosen.append(cards[int(entry)])
        elif entry.startswith(("GPU-", "MIG-")):
            chosen.append(0.0)  # nvidia-smi's table has no such slice's memory
        else:
            break
    return tuple(chosen)


def check_environment(
    recipe: Recipe, cards: tuple[float, ...] | None = None, reachable: Callable[[str], bool] | None = None
) -> list[MendableError]:
    """Everything that is missing here for ``recipe``, each with its remedy; empty where it can start.

    ``cards`` and ``reachable(url)`` stand in for the machine's own in tests.
    """
    cards = cuda_memory_gib() if cards is None else cards
    found = [*_devices(recipe, cards), *_packages(recipe), *_model(recipe, reachable or _reachable)]
    found += [*_init_from(recipe), *_data(recipe), *missing_for_publishing(recipe)]
    unique = {str(error): error for error in found}  # data and task often lack the same file
    return list(unique.values())


def _devices(recipe: Recipe, cards: tuple[float, ...]) -> Iterator[MendableError]:
    gpus, here = recipe.hardware.gpus, min(recipe.hardware.gpus, recipe.train.processes)
    if len(cards) < here:
        nodes = gpus // recipe.train.processes
        where = f" on each of {nodes} nodes" if nodes > 1 else ""
        yield MendableError(
            f"the recipe needs {here} CUDA device{'s' * (here > 1)}{where}, and {len(cards)} can be seen here",
            "hardware.gpus",
            "run it on such a machine, or choose another preset with PRESET=…",
        )
        return
    needed = recipe.hardware.memory_gib
    for number, memory in enumerate(cards[:here]):
        if memory and memory < 0.95 * needed:  # cards report a little less than their name says
            yield MendableError(
                f"CUDA device {number} has {memory:.0f} GiB, and the recipe is made for {needed:g} GiB",
                "hardware.memory_gib",
                "choose another preset with PRESET=…, or state what you have: hardware.memory_gib=…",
            )


def _packages(recipe: Recipe) -> Iterator[MendableError]:
    wanted: list[tuple[bool, tuple[str, ...], str, str, str]] = [
        (
            recipe.model.quantization != "none",
            ("bitsandbytes",),
            f"model.quantization={recipe.model.quantization}",
            "bitsandbytes",
            "model.quantization=none",
        ),
        (
            recipe.adapter.generated and recipe.adapter.generator.states != "float32",
            ("bitsandbytes",),
            f"adapter.generator.states={recipe.adapter.generator.states}",
            "bitsandbytes",
            "adapter.generator.states=float32",
        ),
        (
            recipe.model.attn_implementation == "flash_attention_2",
            ("flash_attn",),
            "model.attn_implementation=flash_attention_2",
            "flash-attn --no-build-isolation",
            "model.attn_implementation=sdpa",
        ),
        (
            recipe.train.liger_kernel,
            ("liger_kernel",),
            "train.liger_kernel=true",
            "liger-kernel",
            "train.liger_kernel=false",
        ),
    ]
    wanted += [
        (True, TRACKERS[name], f"train.report_to={name}", name, "train.report_to=[]") for name in recipe.train.report_to
    ]
    for asked, modules, key, package, instead in wanted:
        if asked and not any(_installed(module) for module in modules):
            yield MendableError(
                f"{key} needs the package {package.split()[0]}", key, f"pip install {package}; or set {instead}"
            )


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _model(recipe: Recipe, reachable: Callable[[str], bool]) -> Iterator[MendableError]:
    name = recipe.model.id
    if name.startswith("demo/"):
        yield from _demo_model(name)
        return
    if Path(name).expanduser().exists() or name.startswith((".", "/", "~")):
        if not (Path(name).expanduser() / "config.json").is_file():
            yield MendableError(
                f"{name} holds no model (no config.json)", "model.id", "give a folder that save_pretrained wrote"
            )
        return
    if is_cached(name, recipe.model.revision):
        return
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    if any(
        os.environ.get(flag, "").upper() in ("1", "TRUE", "YES", "ON")
        for flag in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    ):
        why = "downloads are switched off (HF_HUB_OFFLINE)"
    elif reachable(endpoint):
        return
    else:
        why = f"{endpoint} cannot be reached"
    yield MendableError(
        f"the model {name} is not in the local cache, and {why}",
        "model.id",
        f"hf download {name} where there is a network, then set HF_HOME or model.id to its folder; or PRESET=smoke",
    )


def _demo_model(name: str) -> Iterator[MendableError]:
    """The packages that ship the demo's weights; the tiny model needs none."""
    from data_prep.demo.models import check_model

    try:
        check_model(name)
    except MendableError as error:
        yield error


def _init_from(recipe: Recipe) -> Iterator[MendableError]:
    """The adapter to go on from: there, and of the recipe's kind and rank."""
    from mlplora_vlm.start import check_init_from

    if recipe.adapter.init_from is not None:
        try:
            check_init_from(recipe.adapter)
        except MendableError as error:
            yield error


def is_cached(name: str, revision: str | None) -> bool:
    """Whether the hub's cache holds the model's configuration: a snapshot is written as a whole or resumed."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        return isinstance(try_to_load_from_cache(name, "config.json", revision=revision), str)
    except HFValidationError:
        return False


def _reachable(url: str, seconds: float = 3.0) -> bool:
    """Whether a connection opens; behind a proxy, which alone could tell, it is taken to."""
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    parts = urlsplit(url)
    try:
        with socket.create_connection(
            (parts.hostname or "", parts.port or (80 if parts.scheme == "http" else 443)), seconds
        ):
            return True
    except OSError:
        return False


def _data(recipe: Recipe) -> Iterator[MendableError]:
    task = recipe.eval.chosen()
    wanted = [("data", section) for section in recipe.data.sources().values()]
    splits = [task.split, *([task.prior_split] if task.prior_split and "prior" in recipe.eval.controls else [])]
    wanted += [("eval", recipe.eval.rows_of(split)) for split in splits]
    for key, section in wanted:
        try:
            check_source(section)
        except MendableErrors as several:
            yield from several.errors
        except MendableError as error:
            yield error if error.fix else MendableError(error.what, error.where or f"{key}.folder", f"set {key}.folder")


def _nvidia_smi() -> tuple[float, ...]:
    """Each device's memory in GiB; empty where nvidia-smi is missing or fails."""
    if not (program := shutil.which("nvidia-smi")):
        return ()
    query = [program, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    lines = [line.strip() for line in answer.splitlines() if line.strip()]
    return tuple(int(line) / 1024 if line.isdigit() else 0.0 for line in lines)
