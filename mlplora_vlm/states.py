"""The optimizer's state on disk: safetensors files whose layout does not depend on engine or number of processes.

``optimizer-00001-of-00002.safetensors`` holds what one process owns, each tensor under ``LAYER|PART|…``, with the
places of its rows in the layer; so another number of processes can cut the rows anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import open_tensors, parse_json
from mlplora_vlm.layers import State, joined
from mlplora_vlm.optimizer import GeneratedAdapterOptimizer
from mlplora_vlm.sharding import rank_and_world

SEPARATOR = "|"
OTHER_CHECKPOINT = "resume from another checkpoint of the same training"


def save_states(optimizer: GeneratedAdapterOptimizer, folder: Path, layout: str, sharded: bool) -> None:
    """Writes this process's file; every process must call it.

    ``layout`` names the engine: a file is read as it is under the same layout and number of processes.  Where nothing
    is ``sharded`` the first process writes for all.
    """
    from safetensors.torch import save_file

    rank, processes = rank_and_world()
    world = processes if sharded else 1
    if rank >= world:
        return
    state = optimizer.state_dict()
    tensors, values = _flatten(state["state"])
    told = {"layout": layout, "processes": processes, "param_groups": state["param_groups"], "values": values}
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"optimizer-{rank + 1:05d}-of-{world:05d}.safetensors"
    part = file.with_suffix(".part")
    save_file(_apart(tensors), part, {"state": json.dumps(told)})
    part.replace(file)


def _apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU, each in memory of its own, as safetensors wants them.

    bitsandbytes gives all of its 8-bit states the same table of values (``qmap1``, ``qmap2``: 1 KiB each).
    """
    apart: dict[str, Tensor] = {}
    owners: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        storage = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if storage in owners else tensor
        owners.add(storage)
    return apart


def load_states(optimizer: GeneratedAdapterOptimizer, folder: Path, layout: str, settings: bool = True) -> None:
    """Gives the optimizer what `save_states` wrote, under this or another layout; tensors are read when needed.

    ``settings``: whether it also takes over learning rate and the like.  Raises `MendableError` where files are missing
    or belong to other layers.
    """
    files = state_files(folder)
    rank, processes = rank_and_world()
    told = _told(files[0])
    same = told["layout"] == layout and told["processes"] == processes
    mine = [files[rank if len(files) > 1 else 0]] if same else files
    groups = told["param_groups"]
    if not settings:
        groups = [{key: group.get(key) for key in ("name", "shapes")} for group in groups]
    optimizer.load_state_dict({"param_groups": groups, "state": SavedStates(mine)})


def state_files(folder: Path) -> list[Path]:
    """All processes' files in order; raises `MendableError` unless every one of them is there."""
    files = sorted(folder.glob("optimizer-*-of-*.safetensors"))
    number = files[0].stem.rpartition("-")[2] if files else "00001"
    wanted = (
        [f"optimizer-{rank + 1:05d}-of-{number}.safetensors" for rank in range(int(number))]
        if number.isdecimal()
        else []
    )
    if [file.name for file in files] != wanted:
        raise MendableError(
            f"{len(files)} of {len(wanted)} optimizer files are there",
            str(folder),
            "copy the files of all processes into the folder, or resume from another checkpoint",
        )
    return files


def saved_processes(folder: Path) -> int:
    """The number of processes that wrote a checkpoint; raises `MendableError` unless all their files are whole."""
    return {int(_told(file)["processes"]) for file in state_files(folder)}.pop()


class SavedStates(MutableMapping[str, State]):
    """States by layer name, each read from the files at its first use and joined over them."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files
        self._values = [_told(file)["values"] for file in files]
        self._names = list(self._values[0])
        self._set: dict[str, State] = {}

    def __getitem__(self, name: str) -> State:
        if name in self._set:
            return self._set[name]
        if name not in self._names:
            raise KeyError(name)
        states = []
        for file, values in zip(self.files, self._values, strict=True):
            begin = name + SEPARATOR
            with open_tensors(file) as opened:
                tensors = {k.removeprefix(begin): opened.get_tensor(k) for k in opened.keys() if k.startswith(begin)}  # noqa: SIM118
            rows = tensors.get("rows")
            whole = rows is not None and rows.dim() == 1 and not rows.is_floating_point()
            if not whole or not isinstance(values.get(name), dict):
                raise MendableError(f"{file.name} lacks a part of the layer {name}", str(file), OTHER_CHECKPOINT)
            states.append(_nested(tensors | values[name]))
        return joined(states)

    def __setitem__(self, name: str, state: State) -> None:
        self._set[name] = state

    def __delitem__(self, name: str) -> None:
        self._set.pop(name, None)
        if name in self._names:
            self._names.remove(name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._names, *self._set]))

    def __len__(self) -> int:
        return len(set(self._names) | set(self._set))


def _told(file: Path) -> dict[str, Any]:
    """What `save_states` wrote into the file's header; raises `MendableError` where the file is not such a one."""
    with open_tensors(file) as opened:
        header = opened.metadata() or {}
    told = parse_json(header.get("state", "null").encode(), file)
    types = {"layout": str, "processes": int, "param_groups": list, "values": dict}
    if not isinstance(told, dict) or any(not isinstance(told.get(key), kind) for key, kind in types.items()):
        raise MendableError(
            f"{file.name} is not a generator's state: its header lacks {', '.join(types)}", str(file), OTHER_CHECKPOINT
        )
    return told


def _flatten(states: dict[str, State]) -> tuple[dict[str, Tensor], dict[str, dict[str, Any]]]:
    """(tensors by joined path, all else by layer and the path within)."""
    tensors: dict[str, Tensor] = {}
    values: dict[str, dict[str, Any]] = {}

    def visit(item: Any, path: tuple[str, ...]) -> None:
        if isinstance(item, dict):
            for key, value in item.items():
                visit(value, (*path, str(key)))
        elif isinstance(item, torch.Tensor):
            tensors[SEPARATOR.join(path)] = item
        else:
            values[path[0]][SEPARATOR.join(path[1:])] = item

    for name, state in states.items():
        values[name] = {}
        visit(state, (name,))
    return tensors, values


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {"generator": {}, "inner": {}}
    for path, value in flat.items():
        *parents, last = path.split(SEPARATOR)
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return nested
