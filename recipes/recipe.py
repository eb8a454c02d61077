"""A recipe: choices from YAML, a preset and the command line, checked as a whole before anything heavy loads.

What a preset means in every recipe is written once, in ``_presets.yaml``.  From below to above: the recipe's choices,
that preset, the recipe's own block of the same name, the command line; each is merged over the ones below, key by key.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from data_prep.section import DataSection
from eval_harness.section import EvalSection
from mlplora_vlm.attach import AdapterSection
from mlplora_vlm.errors import MendableError, MendableErrors, did_you_mean
from mlplora_vlm.files import write_text
from mlplora_vlm.load import ModelSection
from mlplora_vlm.memory import HardwareSection
from mlplora_vlm.merge import MergeSection
from mlplora_vlm.publish import PublishSection
from mlplora_vlm.training import TrainSection
from recipes.checks import cross_problems
from recipes.located_yaml import Value, dump, read_file, read_word
from recipes.typed import Findings, add_problems, build


@dataclass(frozen=True)
class Recipe:
    """Everything that a run depends on."""

    name: str
    preset: str | None
    """The block of overrides that was chosen; None: the recipe as it stands."""
    model: ModelSection
    data: DataSection
    adapter: AdapterSection
    train: TrainSection
    merge: MergeSection
    eval: EvalSection
    hardware: HardwareSection
    publish: PublishSection

    def to_dict(self) -> dict[str, Any]:
        """Plain data, with every default written out: what resolved.yaml and result.json hold."""
        return _plain(dataclasses.asdict(self))

    def dump_resolved(self, path: Path) -> None:
        """Writes resolved.yaml, whole or not at all; `load_resolved` reads it back equal."""
        head = (
            f"# recipe {self.name}{f', preset {self.preset}' if self.preset else ''}, with every default written out\n"
        )
        write_text(path, head + dump(self.to_dict()))


SECTIONS: dict[str, type[Any]] = {
    name: kind
    for name, kind in get_type_hints(Recipe).items()
    if isinstance(kind, type) and dataclasses.is_dataclass(kind)
}
"""The section dataclasses by their key in the YAML."""

COMMON = Path(__file__).with_name("_presets.yaml")
"""What the presets mean in every recipe."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # becomes part of a folder's name


@dataclass(frozen=True)
class Preset:
    """A named block of overrides, as far as choosing one needs it."""

    description: str
    hardware: HardwareSection


def recipe_files(folder: Path) -> list[Path]:
    """The recipes in a folder; a name with an underscore in front is no recipe's."""
    return sorted(folder.glob("[!_]*.yaml"))


def recipe_text(path: Path, key: str) -> str:
    """The text under a top-level key of a recipe, such as its description; empty where there is none."""
    findings = Findings()
    text = _text(_mapping(read_file(path), "the recipe", findings), key, findings)
    if findings.errors:
        raise MendableErrors(findings.errors)
    return text


def load_recipe(path: Path | str, preset: str | None = None, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in ``path``; the preset is merged deeply over it, then each ``section.key=value`` (the last wins).

    Raises `MendableErrors` with every mistake at once, each with its file and line.
    """
    path = Path(path)
    findings = Findings()
    root = _mapping(read_file(path), "the recipe", findings)
    top = Value({key: value for key, value in root.items() if key not in ("name", "description", "presets")}, str(path))
    blocks = _presets(root, findings)
    if preset is not None and preset not in blocks:
        findings.add(
            "preset",
            f"there is no preset {preset!r}{did_you_mean(preset, blocks)}",
            root["presets"].where if "presets" in root else str(path),
            f"presets: {', '.join(blocks)}" if blocks else "the recipe has no presets",
        )
    elif preset is not None:
        chosen = _preset(preset, blocks[preset], findings)
        top = merge(
            top, Value({key: value for key, value in chosen.items() if key != "description"}, blocks[preset].where)
        )
    for text in overrides:
        try:
            top = merge(top, parse_override(text))
        except MendableError as error:
            findings.errors.extend(getattr(error, "errors", [error]))
    name = _text(root, "name", findings) or path.stem
    if not _NAME.fullmatch(name):
        where = root["name"].where if "name" in root else str(path)
        findings.add(
            "name", f"{name!r} cannot be part of a folder's name", where, "use letters, digits, '.', '_' and '-'"
        )
    return _recipe(name, preset, top, findings, also=("name", "description", "presets"))


def load_resolved(path: Path | str) -> Recipe:
    """The recipe that `Recipe.dump_resolved` wrote; raises `MendableErrors` where the file no longer is one."""
    path = Path(path)
    findings = Findings()
    root = _mapping(read_file(path), "the resolved recipe", findings)
    sections = Value({key: value for key, value in root.items() if key not in ("name", "preset")}, str(path))
    name, preset = _text(root, "name", findings), _text(root, "preset", findings)
    if not name:
        findings.add("name", "name is missing", str(path), "is this a resolved.yaml?")
    return _recipe(name, preset or None, sections, findings, also=("name", "preset"))


def available_presets(path: Path | str) -> dict[str, Preset]:
    """The presets of a recipe in the file's order, with what they say of themselves."""
    findings = Findings()
    root = _mapping(read_file(Path(path)), "the recipe", findings)
    nothing = Value({}, str(path))
    found = {}
    for name, block in _presets(root, findings).items():
        given = _preset(name, block, findings)
        hardware = merge(root.get("hardware", nothing), given.get("hardware", nothing))
        found[name] = Preset(
            _text(given, "description", findings), build(HardwareSection, hardware, "hardware", findings)
        )
    if findings.errors:
        raise MendableErrors(findings.errors)
    return found


def choose_preset(
    available: Mapping[str, Preset], cards: Sequence[float], asked: str | None = None
) -> tuple[str | None, str]:
    """(preset, the sentence that says why): the run's first line.

    ``asked`` is what --preset or $PRESET names; ``cards`` each CUDA device's memory in GiB, 0 where it is not known.
    Without CUDA: demo, else smoke.  With CUDA: the first preset for one GPU that fits the first card.
    """
    if asked:
        return asked, f"preset {asked}, as asked for"
    if not available:
        return None, "the recipe has no presets: it runs as it stands"
    choices = ", ".join(available)
    if cards:
        one_gpu = {name: preset.hardware.memory_gib for name, preset in available.items() if preset.hardware.gpus == 1}
        # an 80-GiB card reports a little less than that
        fitting = [name for name, needed in one_gpu.items() if not cards[0] or needed * 0.98 <= cards[0]]
        if fitting:
            size = f" with {cards[0]:.0f} GiB" if cards[0] else ""
            return fitting[0], f"CUDA device found{size}: preset {fitting[0]} (PRESET=… chooses another: {choices})"
    missing = "no preset for one GPU fits the CUDA device" if cards else "no CUDA device found"
    for name in ("demo", "smoke"):
        if name in available:
            return name, f"{missing}: preset {name} (PRESET=… chooses another: {choices})"
    return (
        None,
        f"{missing}, and the recipe has neither demo nor smoke: it runs as it stands (PRESET=… chooses: {choices})",
    )


def merge(below: Value, above: Value) -> Value:
    """``above`` over ``below``: mappings key by key at every depth, anything else as a whole."""
    if not isinstance(below.data, dict) or not isinstance(above.data, dict):
        return above
    merged = dict(below.data)
    for key, value in above.data.items():
        merged[key] = merge(merged[key], value) if key in merged else value
    return Value(merged, below.where)


def parse_override(text: str) -> Value:
    """``section.key=value`` as a nested mapping; the value is read as YAML.  Raises `MendableError`."""
    key, equals, word = text.partition("=")
    where = f"command line: {text}"
    parts = key.strip().split(".")
    if not equals or len(parts) < 2 or not all(parts):
        raise MendableError(f"{text!r} is no override", where, "write section.key=value, such as adapter.rank=8")
    value = read_word(word, where)
    for part in reversed(parts):
        value = Value({part: value}, where)
    return value


def _recipe(name: str, preset: str | None, top: Value, findings: Findings, also: tuple[str, ...]) -> Recipe:
    """Builds and checks the sections; raises what was found, here and before."""
    given = top.data if isinstance(top.data, dict) else {}
    for key, value in given.items():
        if key not in SECTIONS:
            keys = (*also, *SECTIONS)
            findings.add(
                key, f"unknown section {key}{did_you_mean(key, keys)}", value.where, f"known: {', '.join(keys)}"
            )
    places = {key: given.get(key, Value({}, top.where)) for key in SECTIONS}
    sections: dict[str, Any] = {key: build(kind, places[key], key, findings) for key, kind in SECTIONS.items()}
    for key, section in sections.items():
        add_problems(section, places[key], key, findings)
    recipe = Recipe(name=name, preset=preset, **sections)
    for key, what, fix in cross_problems(recipe, findings.broken):
        findings.add(key, f"{key}: {what}", _place(top, key), fix)
    if findings.errors:
        raise MendableErrors(sorted(findings.errors, key=_reading_order))
    return recipe


def _reading_order(error: MendableError) -> tuple[bool, str, int]:
    """Each file from top to bottom, then the command line."""
    place = re.match(r"(.*?):(\d+)\b", error.where)
    if error.where.startswith("command line"):
        return True, "", 0
    return False, place[1] if place else error.where, int(place[2]) if place else 0


def _place(top: Value, key: str) -> str:
    """Where the value of a dotted key was written, or the nearest enclosing place."""
    value = top
    for part in key.split("."):
        if not isinstance(value.data, dict) or part not in value.data:
            break
        value = value.data[part]
    return value.where


def _presets(root: Mapping[str, Value], findings: Findings) -> dict[str, Value]:
    blocks = _mapping(root["presets"], "presets", findings) if "presets" in root else {}
    for name, block in blocks.items():
        if not _NAME.fullmatch(name):
            findings.add(
                "presets",
                f"{name!r} cannot be part of a folder's name",
                block.where,
                "use letters, digits, '.', '_' and '-'",
            )
    return blocks


def _preset(name: str, own: Value, findings: Findings) -> dict[str, Value]:
    """The recipe's own block over what the preset means in every recipe."""
    common = _mapping(read_file(Path(os.path.relpath(COMMON))), "the presets", findings)
    return _mapping(merge(common[name], own) if name in common else own, f"preset {name}", findings)


def _mapping(value: Value, what: str, findings: Findings) -> dict[str, Value]:
    if isinstance(value.data, dict):
        return value.data
    findings.add(what, f"{what} must hold keys with values", value.where, f"sections: {', '.join(SECTIONS)}")
    return {}


def _text(root: Mapping[str, Value], key: str, findings: Findings) -> str:
    """The text under a top-level key, or an empty string where there is none."""
    value = root.get(key)
    if value is None or value.data is None:
        return ""
    if not isinstance(value.data, str | int | float) or isinstance(value.data, bool):
        findings.add(key, f"{key}: expected text", value.where, "write one line of text")
        return ""
    return value.data if isinstance(value.data, str) else value.text


def _plain(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _plain(value) for key, value in data.items()}
    return [_plain(value) for value in data] if isinstance(data, tuple) else data
