"""Finished evaluations read back from disk: which models and tasks lie in a folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from eval_harness.predictions import read_rows
from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import read_json

RESULT, PREDICTIONS = "result.json", "predictions.jsonl"


@dataclass(frozen=True)
class Evaluation:
    """One task asked of one model."""

    folder: Path
    result: Mapping[str, Any]
    """result.json's content."""

    @property
    def task(self) -> str:
        """The task's name."""
        return str(self.result["task"])

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """predictions.jsonl's rows; raises MendableError where one is broken or an id comes twice."""
        path, seen = self.folder / PREDICTIONS, set()
        for number, row in enumerate(rows := read_rows(path), 1):
            if row["id"] in seen:
                raise _broken(f"line {number} repeats the id {row['id']!r}", path)
            seen.add(row["id"])
        return rows


Model = dict[str, Evaluation]
"""What one model answered: an evaluation a task."""


def found(folder: Path) -> list[Model]:
    """The models whose evaluations lie in ``folder`` or below it, by path; raises MendableError where there are none.

    A folder with result.json and predictions.jsonl is one evaluation.  Those that share a parent folder are one
    model's (OUT/MODEL/TASK), unless a task comes twice among them (eval/before, eval/after): then each is its own.
    """
    here = [folder] if _is_one(folder) else sorted(path.parent for path in folder.rglob(RESULT) if _is_one(path.parent))
    if not here:
        raise MendableError(
            f"there is no evaluation in {folder}",
            str(folder),
            f"name a folder that holds {RESULT} and {PREDICTIONS}, or one with such folders below it",
        )
    by_parent: dict[Path, list[Evaluation]] = {}
    for path in here:
        by_parent.setdefault(path.parent, []).append(_read(path))
    models: list[Model] = []
    for evaluations in by_parent.values():
        one = {evaluation.task: evaluation for evaluation in evaluations}
        models += [one] if len(one) == len(evaluations) else [{each.task: each} for each in evaluations]
    return models


def model_names(models: Sequence[Model]) -> list[str]:
    """A distinct name of each model: what result.json calls it, else the part of its path that tells it from others."""
    own = [_own_name(model) for model in models]
    if all(own) and len(set(own)) == len(own):
        return [str(name) for name in own]
    parts = [_path(model).parts for model in models]
    for depth in range(1, min(map(len, parts)) + 1):
        names = [path[-depth] for path in parts]
        if len(set(names)) == len(names):
            return names
    paths = [str(_path(model)) for model in models]
    return paths if len(set(paths)) == len(paths) else [f"{number} {path}" for number, path in enumerate(paths, 1)]


def tasks_of(models: Iterable[Model]) -> list[str]:
    """Every task that one of the models was asked, in the order of first sight."""
    return list(dict.fromkeys(task for model in models for task in model))


def _is_one(folder: Path) -> bool:
    return (folder / RESULT).is_file() and (folder / PREDICTIONS).is_file()


def _read(folder: Path) -> Evaluation:
    path = folder / RESULT
    result = read_json(path, dict)
    if not {"task", "scores"} <= result.keys():
        raise _broken("it is not the result of an evaluation: task and scores are missing", path)
    return Evaluation(folder, result)


def _broken(what: str, path: Path) -> MendableError:
    return MendableError(f"{path.name} cannot be used: {what}", str(path), "evaluate again into this folder")


def _own_name(model: Model) -> str | None:
    """The name that all of the model's results agree on."""
    said = [evaluation.result.get("model") for evaluation in model.values()]
    names = {one.get("name") if isinstance(one, Mapping) else one for one in said}
    return str(name) if len(names) == 1 and (name := names.pop()) else None


def _path(model: Model) -> Path:
    """The folder of a model with one task, the folder around those of several."""
    folders = [evaluation.folder.resolve() for evaluation in model.values()]
    return folders[0] if len(folders) == 1 else folders[0].parent
