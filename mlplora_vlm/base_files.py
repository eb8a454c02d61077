"""A base model's published weight files: which tensors they hold, and which of the model's own each becomes.

Published names are often those of an older transformers, and a few families fuse there what the model has apart (or the
other way round).  transformers translates while it loads; here the same translation is done tensor by tensor, so that a
file can be read, changed and written under its own names without the model in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import REPLACE, open_tensors, read_json, readable

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
"""transformers' names of the one file, and of the list of several."""
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json")
CONFIG, GENERATION = "config.json", "generation_config.json"
IMAGE_SETTINGS = ("processor_config.json", "preprocessor_config.json")
"""A processor's image settings, as transformers 5 and 4 name them."""
PROCESSOR = (
    *(*IMAGE_SETTINGS, "video_preprocessor_config.json", "chat_template.json"),
    *("tokenizer_config.json", "tokenizer.json", "vocab.json", "special_tokens_map.json", "added_tokens.json"),
)
"""JSON files of a processor; transformers does not name a broken one."""
TEMPLATE = "chat_template.jinja"


def check_json(path: str | Path, names: Sequence[str]) -> None:
    """Raise `MendableError` for a file of a local folder that is there and no JSON object."""
    for file in (Path(path) / name for name in names):
        if file.exists():
            read_json(file, dict)


def check_template(path: str | Path) -> None:
    """Raise `MendableError` for the chat template of a local folder that is no text."""
    file = Path(path) / TEMPLATE
    if file.exists():
        with readable(file):
            try:
                file.read_text(encoding="utf-8")
            except UnicodeDecodeError as error:
                raise MendableError(f"{TEMPLATE} is not UTF-8 text: {error.reason}", str(file), REPLACE) from None


@dataclass(frozen=True)
class Unit:
    """Tensors of the files that can only be translated together: one alone, but where the family fuses several."""

    keys: tuple[str, ...]
    """Their names in the files."""
    name: str
    """The model's name for them, or for the first of what they become; empty: the model has no place for it."""
    converter: Any = None
    """What transformers makes of them beside a new name; None: nothing."""


class BaseFiles:
    """The safetensors files of a model folder or hub id; nothing but their headers is read until it is asked for."""

    def __init__(self, path: str, revision: str | None = None) -> None:
        """Raise `MendableError` where the weights are missing or in pickle files, or their index is broken."""
        self.path, self.revision = path, revision
        self.index: dict[str, Any] | None = None
        names = [WEIGHTS]  # transformers, too, takes the one file where both are there
        if self.find(WEIGHTS) is None and (index := self.find(INDEX)):
            self.index = _read_index(index)
            names = sorted(set(self.index["weight_map"].values()))
        self.files = {name: self._needed(name) for name in names}
        """The file of each name."""

    def find(self, name: str) -> Path | None:
        """A file of the model, fetched where it is not here yet; None where the model has none of that name."""
        from transformers.utils import cached_file

        found = cached_file(
            self.path,
            name,
            revision=self.revision,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        return None if found is None else Path(found)

    def _needed(self, name: str) -> Path:
        if (found := self.find(name)) is not None:
            return found
        what = f"the base has no {WEIGHTS}, and no {INDEX}"
        fix = "check the id or folder, and download all files; pickled weights (.bin) are not read"
        if self.index is not None:
            what = f"{INDEX} names {name}, which is missing"
        elif pickle := next((name for name in PICKLES if (Path(self.path) / name).is_file()), None):
            what = f"the weights are in pickle files ({pickle}), which can run code when they are loaded"
            fix = (
                "convert a model that you trust: AutoModelForImageTextToText.from_pretrained(folder, "
                "use_safetensors=False).save_pretrained(new_folder), and copy its processor's files"
            )
        raise MendableError(what, self.path, fix)

    def check(self, quantized: bool = False) -> None:
        """Compare every file's header with its size and the index; raise `MendableError` at a fault.

        ``quantized``: the files hold a quantized model, whose weights may be integers.
        """
        here, named = self.place, self.index["weight_map"].keys() if self.index else ()
        if lacking := sorted(set(named) - here.keys()):
            what = f"{INDEX} names {len(lacking)} tensors that no file holds: {', '.join(lacking[:3])}"
            raise MendableError(what, self.path, REPLACE)
        for key, name in here.items() if not quantized else ():
            part = self._opened[name].get_slice(key)
            if part.get_dtype().startswith(("I", "U")) and len(part.get_shape()) > 1:
                what = f"{key} holds integers ({part.get_dtype()}), and config.json names no quantization"
                raise MendableError(what, str(self.files[name]), "save the weights as bfloat16 or float32")

    @cached_property
    def _opened(self) -> dict[str, Any]:
        # not mapped into memory: pages that were read would stay, and add up to the whole model
        return {name: open_tensors(path, backend="pread") for name, path in self.files.items()}

    @cached_property
    def place(self) -> dict[str, str]:
        """The name of the file that holds each tensor."""
        return {key: name for name, opened in self._opened.items() for key in opened.keys()}  # noqa: SIM118

    def shape(self, key: str) -> tuple[int, ...]:
        """Of a tensor, from its file's header."""
        return tuple(self._opened[self.place[key]].get_slice(key).get_shape())

    def read(self, key: str) -> Tensor:
        """One tensor, as it is in its file."""
        tensor: Tensor = self._opened[self.place[key]].get_tensor(key)
        return tensor

    @cached_property
    def largest(self) -> int:
        """Bytes of the largest file."""
        return max(path.stat().st_size for path in self.files.values())


def _read_index(path: Path) -> dict[str, Any]:
    index: dict[str, Any] = read_json(path, dict)
    files = index.get("weight_map")
    if not isinstance(files, dict) or not files or not all(_is_name(name) for name in files.values()):
        what = "expected weight_map to name a file next to the index for each tensor"
        raise MendableError(f"{path.name}: {what}, got {files!r:.100}", str(path), REPLACE)
    if not isinstance(index.get("metadata"), dict):
        raise MendableError(f"{path.name}: metadata is missing, which transformers reads", str(path), REPLACE)
    return index


def _is_name(name: object) -> bool:
    return isinstance(name, str) and name not in ("", "..") and Path(name).name == name


class Translation:
    """Between the files' tensors and those of ``model`` in precision ``dtype``; the meta device will do."""

    def __init__(self, base: BaseFiles, model: PreTrainedModel, dtype: torch.dtype) -> None:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightConverter, WeightRenaming, dot_natural_key, rename_source_key

        self.base, self.model, self.dtype = base, model, dtype
        self._wanted = model.state_dict()
        conversions = get_model_conversion_mapping(model)
        renamings = [one for one in conversions if isinstance(one, WeightRenaming)]
        converters = [one for one in conversions if isinstance(one, WeightConverter)]
        by_pattern = {pattern: one for one in converters for pattern in one.source_patterns}
        prefix, self._patterns = model.base_model_prefix, dict[str, str]()
        units: dict[str, Unit] = {}
        for key in sorted(base.place, key=dot_natural_key):
            name, pattern = rename_source_key(key, renamings, converters, prefix, self._wanted)
            if name not in self._wanted and key in self._wanted:  # renamed although it has today's name
                name, pattern = rename_source_key(key, [], [], prefix, self._wanted)
            if name not in self._wanted:
                units[f" {key}"] = Unit((key,), "")
            elif pattern is None:
                units[name] = Unit((key,), name)
            else:
                self._patterns[key] = pattern
                together = units[name].keys if name in units else ()
                units[name] = Unit((*together, key), name, by_pattern[pattern])
        self.units = list(units.values())
        """All of the files' tensors."""
        # what transformers would keep of the model that it loaded from these files, to save it under the same names
        model._weight_conversions = [one for one in conversions if one.was_used()]  # type: ignore[assignment]
        self._kept_precise = model._get_dtype_plan(dtype)

    def by_file(self) -> Iterator[tuple[str, list[Unit]]]:
        """(file, the units whose first file it is) for every file, in order."""
        order = {file: number for number, file in enumerate(self.base.files)}
        first = [min(order[self.base.place[key]] for key in unit.keys) for unit in self.units]
        for file, number in order.items():
            yield file, [unit for unit, begins in zip(self.units, first, strict=True) if begins == number]

    def precision(self, name: str) -> torch.dtype:
        """What transformers loads a tensor of the model in."""
        from transformers.core_model_loading import build_glob_alternation

        if self._kept_precise:
            pattern, group, _ = build_glob_alternation(list(self._kept_precise))
            if (match := pattern.search(name)) and match.lastgroup:
                kept: torch.dtype = self._kept_precise[group[match.lastgroup]]
                return kept
        return self._wanted[name].dtype

    def to_model(self, unit: Unit) -> dict[str, Tensor]:
        """The unit's tensors as the loaded model has them, by the model's names."""
        precision = self.precision(unit.name)
        given = {key: self.base.read(key).to(precision) for key in unit.keys}
        if unit.converter is None:
            return {unit.name: given[unit.keys[0]]}
        converter = deepcopy(unit.converter)
        for key, tensor in given.items():
            converter.add_tensor(unit.name, key, self._patterns[key], tensor)
        made = converter.convert(unit.name, model=self.model, config=self.model.config)
        return {name: tensor[0] if isinstance(tensor, list) else tensor for name, tensor in made.items()}

    def to_files(self, unit: Unit, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The same tensors by the files' names, in the files' shapes."""
        if unit.converter is None:
            return {unit.keys[0]: tensors[unit.name]}
        from transformers.core_model_loading import revert_weight_conversion

        found: dict[str, Tensor] = revert_weight_conversion(self.model, tensors)
        if len(unit.keys) == len(found) == 1:
            found = {unit.keys[0]: next(iter(found.values()))}
        if found.keys() != set(unit.keys) or any(self.base.shape(key) != found[key].shape for key in found):
            raise MendableError(
                f"transformers cannot write {unit.name} back as the base's files have it: {', '.join(unit.keys)}",
                self.base.path,
                "adapt other layers, or save the base anew with save_pretrained, and merge into that",
            )
        return {key: tensor.contiguous() for key, tensor in found.items()}
