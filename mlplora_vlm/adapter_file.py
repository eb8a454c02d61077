"""Reads a PEFT adapter folder and checks all that can be checked without its model: configuration and tensors.

Whatever wrote the folder, PEFT itself accepts much of what cannot work: it warns about missing tensors and answers as
the base does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplora_vlm.checkpoint import ADAPTER_FILE, CONFIG_FILE
from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import read_json, read_tensors
from mlplora_vlm.kinds import KINDS, Kind

if TYPE_CHECKING:
    from torch import Tensor

ROOT = "base_model.model."
"""PEFT's prefix of a layer's name in an adapter file."""
ADAPTER_TENSOR = re.compile(r"\.(?=(?:lora|vera)_)")
"""Separates a layer's name from that of one of its adapter's tensors."""
PICKLE = "adapter_model.bin"
PLAIN_STARTS = (None, True, False, "gaussian", "eva", "orthogonal", "mica")
"""PEFT's ``init_lora_weights`` that leave the base weights alone."""
EMBEDDINGS = ("embed_tokens", "lm_head")
"""Modules whose own weights PEFT saves beside the adapter, where they are adapted or the vocabulary was resized."""
UNSUPPORTED = (
    "lora_bias", "layer_replication", "trainable_token_indices", "target_parameters", "alora_invocation_tokens",
    "arrow_config", "use_bdlora", "use_qalora", "kasa_config", "monteclora_config", "megatron_config",
)  # fmt: skip
"""Options of PEFT's LoRA that change what the adapter computes in ways that are not merged here."""


@dataclass(frozen=True)
class SavedAdapter:
    """A checked adapter folder."""

    folder: Path
    config: dict[str, Any]
    """adapter_config.json's content."""
    tensors: dict[str, Tensor]
    layers: list[str]
    """Names of the adapted layers, as in the file."""
    shared: tuple[str, ...]
    """Tensors that belong to no layer and are not trained (VeRA's projections)."""


def read_adapter(folder: Path, checkpoint: bool = False) -> SavedAdapter:
    """Read and check an adapter folder.

    ``checkpoint``: it is a training's own state, which may still be the identity, and may fit a base that its init
    changed (PiSSA).  Raises `MendableError` where a file is missing or broken, where the configuration is not that of a
    supported method, or where the tensors are not those that it describes: names, ranks, precision, finite values.
    """
    config = read_config(folder, checkpoint)
    if not (folder / ADAPTER_FILE).is_file() and (folder / PICKLE).is_file():
        raise MendableError(
            f"the adapter is pickled ({PICKLE}), which can run any code when it is read; expected {ADAPTER_FILE}",
            str(folder / PICKLE),
            f"read it by torch.load with weights_only=True, and write {ADAPTER_FILE} by safetensors.torch.save_file",
        )
    tensors = read_tensors(folder / ADAPTER_FILE)
    kind = _kind(config)
    layers = _check_names(config, tensors, kind, folder)
    _check_values(tensors, folder)
    _check_ranks(config, tensors, folder)
    if not checkpoint:
        _check_trained(config, tensors, layers, folder)
    return SavedAdapter(folder, config, tensors, list(layers), kind.shared)


def read_config(folder: Path, checkpoint: bool = False) -> dict[str, Any]:
    """adapter_config.json's content; see `read_adapter`."""
    file = folder / CONFIG_FILE
    config: dict[str, Any] = read_json(file, dict)
    method = config.get("peft_type")
    if method not in [kind.peft_type for kind in KINDS.values()]:
        raise MendableError(
            f"adapters of the method {method} are not supported: expected one of {', '.join(KINDS)}",
            f"{file} peft_type",
            "train an adapter of one of these; PEFT itself merges most others (merge_and_unload)",
        )
    for key, (expected, valid) in _FIELDS.items():
        if (key in config or key in _REQUIRED[method]) and not valid(config.get(key)):
            raise MendableError(
                f"{key}: expected {expected}, got {config.get(key)!r:.80}",
                f"{file} {key}",
                "copy the file again, or correct it to what the adapter was trained with",
            )
    used = [key for key in UNSUPPORTED if config.get(key)]
    if method == "VERA" and config.get("save_projection") is False:
        used.append("save_projection=false")
    if used:
        raise MendableError(
            f"the adapter uses an option of PEFT that is not supported: {', '.join(used)}",
            f"{file} {used[0]}",
            "train it without; or merge it with PEFT (merge_and_unload), and use the merged model",
        )
    init = config.get("init_lora_weights")
    if init not in PLAIN_STARTS and not checkpoint:
        raise MendableError(
            f"the adapter fits a base that its init changed: init_lora_weights is {init!r}",
            f"{file} init_lora_weights",
            f"of a checkpoint: python -m recipes collapse {folder} --out ADAPTER; of another tool: save it with PEFT's "
            "path_initial_model_for_weight_conversion",
        )
    return config


def pattern_value(patterns: Mapping[str, Any] | None, names: Iterable[str], default: Any) -> Any:
    """What PEFT's rank_pattern or alpha_pattern has for the first of a layer's ``names`` that it fits."""
    for name in names:
        for pattern, value in (patterns or {}).items():
            if re.match(rf"(.*\.)?({pattern})$", name):
                return value
    return default


def _kind(config: Mapping[str, Any]) -> Kind:
    if config["peft_type"] == KINDS["vera"].peft_type:
        return KINDS["vera"]
    return KINDS["dora" if config.get("use_dora") else "lora"]


def _check_names(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor], kind: Kind, folder: Path
) -> dict[str, set[str]]:
    """Layer → the endings of its tensors, all of which must be there; nothing else may be."""
    layers: dict[str, set[str]] = {}
    others = set(tensors)
    for name in tensors.keys() - set(kind.shared):
        layer, *ending = ADAPTER_TENSOR.split(name, maxsplit=1)
        if ending:
            layers.setdefault(layer, set()).update(ending)
            others.discard(name)
    missing, unknown = {name for name in kind.shared if name not in tensors}, set()
    for layer, found in layers.items():
        wanted = set(kind.tensors)
        if found & set(LORA_EMBEDDING.values()):
            wanted = {LORA_EMBEDDING.get(ending, ending) for ending in wanted}
        missing |= {f"{layer}.{ending}" for ending in wanted - found}
        unknown |= {f"{layer}.{ending}" for ending in found - wanted}
    full = config.get("modules_to_save") or ()
    missing |= {path for path in full if not any(_inside(name, path) for name in others)}
    unknown |= {name for name in others - set(kind.shared) if not _own_weight(name, layers, config)}
    if missing or unknown or not layers:
        raise MendableError(
            f"the adapter is not whole: {len(layers)} layers{_some('missing', missing)}{_some('unknown', unknown)}",
            str(folder / ADAPTER_FILE),
            f"copy it again, or save it with PEFT's save_pretrained; {CONFIG_FILE} must be the same adapter's",
        )
    return layers


LORA_EMBEDDING = {"lora_A.weight": "lora_embedding_A", "lora_B.weight": "lora_embedding_B"}
"""LoRA's endings → those of an embedding's adapter, where A is (rank, tokens) and B (width, rank)."""


def _own_weight(name: str, layers: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Whether the tensor takes the place of one of the model's own: in full, as a trained bias, or as an embedding."""
    module, _, last = name.rpartition(".")
    if any(_inside(name, path) for path in config.get("modules_to_save") or ()):
        return True
    if last == "bias":
        return config.get("bias", "none") != "none"
    return module.removesuffix(".base_layer").rpartition(".")[2] in EMBEDDINGS


def _inside(name: str, path: str) -> bool:
    return f".{path}." in f".{name}"


def _check_values(tensors: Mapping[str, Tensor], folder: Path) -> None:
    empty = [name for name, tensor in tensors.items() if tensor.numel() == 0]
    if empty:
        raise MendableError(
            f"{len(empty)} of {len(tensors)} adapter tensors are empty (size 0), such as {empty[0]}",
            str(folder / ADAPTER_FILE),
            "it was saved under ZeRO-3 or FSDP without gathering the shards: save it again gathered, or use an earlier "
            "checkpoint",
        )
    allowed = ("torch.float32", "torch.bfloat16", "torch.float16", "torch.float64")
    for name, tensor in tensors.items():
        if str(tensor.dtype) not in allowed:
            raise MendableError(
                f"{name} is of type {tensor.dtype}: expected one of {', '.join(allowed)}",
                str(folder / ADAPTER_FILE),
                "save the adapter in the precision that it was trained in",
            )
    bad = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if bad:
        raise MendableError(
            f"{len(bad)} of {len(tensors)} adapter tensors are not finite (NaN or infinity), such as {bad[0]}",
            str(folder / ADAPTER_FILE),
            "the training diverged: lower its learning rate, or use an earlier checkpoint",
        )


def _check_ranks(config: Mapping[str, Any], tensors: Mapping[str, Tensor], folder: Path) -> None:
    """The rank of every tensor, on both sides, is the configuration's."""
    for name, tensor in tensors.items():
        layer, *ending = ADAPTER_TENSOR.split(name, maxsplit=1)
        if not ending or ending[0] not in RANK_AXIS:
            continue
        axis, shape = RANK_AXIS[ending[0]], tuple(tensor.shape)
        rank = pattern_value(config.get("rank_pattern"), [layer.removeprefix(ROOT)], config["r"])
        if len(shape) < (1 if ending == ["vera_lambda_d"] else 2) or shape[axis] != rank:
            raise MendableError(
                f"{name} has the shape {shape}: expected rank {rank} on axis {axis}, as {CONFIG_FILE} says",
                str(folder / ADAPTER_FILE),
                f"take {CONFIG_FILE} and {ADAPTER_FILE} from the same training",
            )


RANK_AXIS = {
    "lora_A.weight": 0, "lora_B.weight": 1, "lora_embedding_A": 0, "lora_embedding_B": 1,
    "vera_lambda_d": 0, "vera_A": 0, "vera_B": 1,
}  # fmt: skip
"""Tensor → its axis of the rank."""


def _check_trained(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor], layers: Mapping[str, set[str]], folder: Path
) -> None:
    """Some layer's change of its weight is not zero."""
    sides = {*LORA_EMBEDDING, *LORA_EMBEDDING.values(), "vera_lambda_b"}
    idle = [
        next((ending for ending in sorted(endings & sides, reverse=True) if not tensors[f"{layer}.{ending}"].any()), "")
        for layer, endings in layers.items()
    ]
    if all(idle) and not config.get("modules_to_save"):
        raise MendableError(
            f"the adapter is still the identity: {idle[0]} is zero in every layer",
            str(folder / ADAPTER_FILE),
            "train it, or use a later checkpoint",
        )


def _some(what: str, names: Iterable[str]) -> str:
    shown = sorted(names)
    return f"; {len(shown)} {what}: {', '.join(shown[:3])}{', …' if len(shown) > 3 else ''}" if shown else ""


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_rank(value: Any) -> bool:
    return type(value) is int and value > 0


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) and name for name in value)


def _is_regex(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(value) and bool(re.compile(value))
    except re.error:
        return False


def _selects(value: Any) -> bool:
    return value is None or _are_names(value) or _is_regex(value)


def _patterns(valid: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: (
        value is None or (isinstance(value, dict) and all(_is_regex(key) and valid(one) for key, one in value.items()))
    )


_SELECTION = "a list of module names, or one valid regular expression"
_FIELDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "r": ("a whole number above 0", _is_rank),
    "lora_alpha": ("a number other than 0", lambda value: _is_number(value) and value != 0),
    "target_modules": (_SELECTION, _selects),
    "exclude_modules": (_SELECTION, _selects),
    "modules_to_save": ("a list of module names", lambda value: value is None or _are_names(value)),
    "rank_pattern": ("valid patterns, each with a whole number above 0", _patterns(_is_rank)),
    "alpha_pattern": ("valid patterns, each with a number", _patterns(_is_number)),
    "bias": ("none, all, lora_only or vera_only", lambda value: value in ("none", "all", "lora_only", "vera_only")),
    "use_dora": ("true or false", lambda value: isinstance(value, bool)),
    "use_rslora": ("true or false", lambda value: isinstance(value, bool)),
    "base_model_name_or_path": ("a name or a folder", lambda value: value is None or isinstance(value, str)),
}
"""Key → (what its value is to be, whether it is)."""
_REQUIRED = {"LORA": ("r", "lora_alpha"), "VERA": ("r",)}
