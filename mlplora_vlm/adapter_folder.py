"""Puts a saved adapter on a model, also one whose layers were called otherwise in an older transformers."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplora_vlm.adapter_file import ADAPTER_TENSOR, ROOT, SavedAdapter, pattern_value, read_adapter
from mlplora_vlm.checkpoint import ADAPTER_FILE, CONFIG_FILE
from mlplora_vlm.collapse import tensors_digest
from mlplora_vlm.errors import MendableError, library_errors
from mlplora_vlm.families.card import FamilyCard, card_of

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedModel

    from mlplora_vlm.load import ModelSection

MARK = "merged_adapter"
"""Key of a merged model's config.json: what was merged into it.  transformers keeps unknown keys when it saves."""


def put_on(model: PreTrainedModel, folder: Path) -> PeftModel:
    """The model with the folder's adapter on it, ready to answer.

    Raises `MendableError` as `fitted` does; PEFT alone warns, and the model then answers as if it were not trained.
    """
    from peft import set_peft_model_state_dict

    tuned, tensors = fitted(model, folder)
    set_peft_model_state_dict(tuned, tensors)
    return tuned


def check_fit(path: str, settings: ModelSection, folder: Path) -> None:
    """Check an adapter folder against the architecture of the model at ``path``, before any weights are loaded.

    Raises `MendableError` as `fitted` does.
    """
    from mlplora_vlm.load import load_config
    from mlplora_vlm.meta import meta_model

    read_adapter(folder)  # before a hub is asked for the configuration
    fitted(meta_model(load_config(path, settings)), folder)


def fitted(model: PreTrainedModel, folder: Path) -> tuple[PeftModel, dict[str, Tensor]]:
    """The model with a fresh adapter like the folder's on it, and the folder's tensors under that adapter's names.

    Works on the meta device too.  Raises `MendableError` for a folder that `read_adapter` or `placed` refuses, and
    unless every tensor of the file finds its place, in its shape, and every place its tensor.
    """
    from peft import PeftModel, get_peft_model_state_dict

    adapter = read_adapter(folder)
    config, tensors = placed(model, adapter)
    embeddings = _embeddings(model)
    shapes = {f"{ROOT}{name}": parameter.shape for name, parameter in model.named_parameters()}
    with _peft_errors(folder):
        tuned = PeftModel(model, config, autocast_adapter_dtype=False).eval()
        places = get_peft_model_state_dict(tuned, save_embedding_layers=False)  # not "auto": it asks the hub
    wanted = {name: tensor.shape for name, tensor in places.items()}
    for name in tensors.keys() - wanted.keys():  # an embedding's own weight, which PEFT saves beside its adapter
        own = name.replace(".base_layer.", ".")
        if own in shapes and _home(own) in embeddings:
            wanted[name] = shapes[own]
    if wanted.keys() != tensors.keys():
        raise _misfit(folder, sorted(tensors.keys() - wanted), sorted(wanted.keys() - tensors.keys()))
    wrong = [name for name, tensor in tensors.items() if tensor.shape != wanted[name]]
    for name in sorted(wrong, key=lambda name: _home(name) in embeddings):  # another width is no other vocabulary
        raise _wrong_shape(folder, name, tuple(tensors[name].shape), tuple(wanted[name]), _home(name) in embeddings)
    return tuned, tensors


def placed(base: Any, adapter: SavedAdapter) -> tuple[Any, dict[str, Tensor]]:
    """(PEFT's configuration with the full names of the layers, the file's tensors under the model's present names).

    Raises `MendableError` where the adapter has been merged into the model already, where the model lacks a layer of
    the file, or where the file lacks a layer that its configuration names.
    """
    _check_not_merged(base.config, adapter)
    card, config = card_of(base.config), _peft_config(adapter)
    tensors = with_present_names(base, config, adapter.tensors)
    layers = {_home(name) for name in tensors if name.startswith(ROOT) and ADAPTER_TENSOR.search(name)}
    if strangers := sorted(layer for layer in layers if not _has(base, layer)):
        raise _misfit(adapter.folder, [n for n in tensors if _home(n) in strangers], _alike(base, layers))
    _check_all_there(base, config, layers, adapter, card)
    for key in ("rank_pattern", "alpha_pattern"):
        if patterns := getattr(config, key, None):
            values = {layer: pattern_value(patterns, _names(layer, card), None) for layer in layers}
            setattr(config, key, {re.escape(layer): value for layer, value in values.items() if value is not None})
    config.target_modules, config.exclude_modules = layers, None
    config.layers_to_transform = config.layers_pattern = None
    if config.modules_to_save:
        config.modules_to_save = [
            _renamed(f"{path}.weight", base, card).removesuffix(".weight") for path in config.modules_to_save
        ]
    return config, tensors


def _check_not_merged(config: PreTrainedConfig, adapter: SavedAdapter) -> None:
    """The base holds no other adapter than those that this one was trained on top of."""
    if not (mark := getattr(config, MARK, None)):
        return
    trained_on, path = adapter.config.get("base_model_name_or_path"), config._name_or_path
    if mark.get("sha256") == tensors_digest(adapter.tensors) or not _same_model(trained_on, path):
        raise MendableError(
            "an adapter has been merged into this base already, and this one was not trained on the result",
            path,
            f"use the model that the adapter was trained on ({trained_on}); a merged model is used without an adapter",
        )


def _same_model(one: str | None, other: str) -> bool:
    return one is not None and (one == other or (Path(one).is_dir() and Path(one).resolve() == Path(other).resolve()))


def _peft_config(adapter: SavedAdapter) -> Any:
    """PEFT's configuration object; its tensors come from the file, so no special init is computed for them."""
    from dataclasses import fields

    from peft import PeftConfig
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    known = {field.name for field in fields(PEFT_TYPE_TO_CONFIG_MAPPING[adapter.config["peft_type"]])}
    given = {key: value for key, value in adapter.config.items() if key != "runtime_config" and value is not None}
    switched_on = (key for key in given.keys() - known if given[key] and isinstance(given[key], bool | dict | list))
    if unknown := sorted(switched_on):
        raise MendableError(
            f"this version of PEFT does not know the option {unknown[0]} = {given[unknown[0]]!r:.80}",
            f"{adapter.folder / CONFIG_FILE} {unknown[0]}",
            "install the version of PEFT that wrote the adapter (peft_version), or a newer one",
        )
    with _peft_errors(adapter.folder):
        config = PeftConfig.from_peft_type(**{key: value for key, value in given.items() if key in known})
    config.inference_mode = True
    if hasattr(config, "init_lora_weights"):
        config.init_lora_weights = True
    return config


def _peft_errors(folder: Path | str) -> AbstractContextManager[None]:
    """Inside, whatever PEFT raises about an adapter folder becomes a `MendableError`."""
    fix = "correct the key in adapter_config.json, or install the version of PEFT that wrote it (peft_version)"
    return library_errors("PEFT cannot use the adapter", str(folder), fix)


def _other_class(adapter: SavedAdapter, base: Any) -> str:
    """Name the recorded class of model in a message, where it is another: no proof, since classes get renamed."""
    recorded = adapter.config.get("auto_mapping")
    trained = recorded.get("base_model_class") if isinstance(recorded, dict) else None
    here = type(base).__name__
    return f"; it was trained on a {trained}, and this is a {here}" if trained not in (None, here) else ""


def _check_all_there(base: Any, config: Any, layers: set[str], adapter: SavedAdapter, card: FamilyCard) -> None:
    """The file has the layers that PEFT would adapt by the configuration's target_modules, under any former name."""
    from peft.tuners.tuners_utils import _maybe_include_all_linear_layers, check_target_module_exists
    from torch import nn

    if not config.target_modules:
        return
    adaptable = (nn.Linear, nn.Embedding, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    with _peft_errors(adapter.folder):
        _maybe_include_all_linear_layers(config, base)
        named = {
            name
            for name, module in base.named_modules()
            if name in layers or isinstance(module, adaptable)
            if any(check_target_module_exists(config, one) for one in _names(name, card))
        }
    missing = [name for name, _ in base.named_modules() if name in named - layers]
    as_today = {layer.removeprefix(ROOT) for layer in adapter.layers} == layers  # else PEFT may know what no card does
    if as_today and (unnamed := sorted(layers - named)):
        raise MendableError(
            f"the adapter file has {len(unnamed)} of {len(layers)} layers that target_modules does not name: "
            f"{', '.join(unnamed[:3])}{', …' if len(unnamed) > 3 else ''}",
            f"{adapter.folder / CONFIG_FILE} target_modules",
            f"take {CONFIG_FILE} and {ADAPTER_FILE} from the same training",
        )
    if missing:
        raise MendableError(
            f"the adapter file lacks {len(missing)} of {len(missing) + len(layers)} layers that target_modules names: "
            f"{', '.join(missing[:3])}{', …' if len(missing) > 3 else ''}{_other_class(adapter, base)}",
            str(adapter.folder / ADAPTER_FILE),
            f"copy the whole file again; if these were not trained, name those that were in {CONFIG_FILE}",
        )


def with_present_names(base: Any, config: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The file's tensors under the names that the model's layers have today.

    PEFT translates first; what it leaves without a place goes by the card.  PEFT 0.21 undoes any renaming that only
    puts ``model.`` before a name (projectors, most towers), and knows none for Qwen2-VL and Qwen2.5-VL.
    """
    from peft.utils.transformers_weight_conversion import convert_peft_adapter_state_dict_for_transformers

    card = card_of(base.config)
    if all(_has(base, _home(name)) for name in tensors):
        return tensors
    with _peft_errors(base.config._name_or_path):
        translated: dict[str, Tensor] = convert_peft_adapter_state_dict_for_transformers(base, config, tensors)
    if not any(_has(base, _home(name)) for name in translated):
        translated = tensors  # its patterns fit parts of any name: an error is to show those that are in the file
    return {
        name if _has(base, _home(name)) else ROOT + _renamed(name.removeprefix(ROOT), base, card): tensor
        for name, tensor in translated.items()
    }


def _names(layer: str, card: FamilyCard) -> list[str]:
    """The layer's name today, and those of older versions of transformers."""
    return [layer, *(layer.replace(now, once, 1) for now, once in card.former if layer.startswith(now))]


def _renamed(name: str, model: Any, card: FamilyCard) -> str:
    """The name that the model has for it today, by the card; as it is where the card knows none."""
    starts = [name.replace(once, now, 1) for now, once in card.former if name.startswith(once)]
    return next((path for path in (name, *starts) if _has(model, _home(ROOT + path))), name)


def _home(name: str) -> str:
    """The layer that a tensor of an adapter file belongs to; shared tensors belong to the model itself."""
    if not name.startswith(ROOT):
        return ""
    name = name.removeprefix(ROOT)
    found = ADAPTER_TENSOR.search(name)
    return name[: found.start()] if found else name.rpartition(".")[0].removesuffix(".base_layer")


def _has(model: Any, layer: str) -> bool:
    try:
        model.get_submodule(layer)
    except AttributeError:
        return False
    return True


def _alike(model: Any, layers: set[str]) -> list[str]:
    """Layers of the model that end as the adapter's do."""
    endings = {layer.rpartition(".")[2] for layer in layers}
    return [name for name, _ in model.named_modules() if name.rpartition(".")[2] in endings]


def _embeddings(model: Any) -> set[str]:
    """Names of the modules that embed the tokens, or score them."""
    found = (model.get_input_embeddings(), model.get_output_embeddings())
    return {name for name, module in model.named_modules() if any(module is one for one in found)}


def _wrong_shape(
    folder: Path, name: str, there: tuple[int, ...], here: tuple[int, ...], of_embedding: bool
) -> MendableError:
    what, fix = f"{name} has the shape {there}, and the model's is {here}", "name the model that it was trained on"
    if of_embedding and len(there) == len(here):
        tokens, known = next((one, other) for one, other in zip(there, here, strict=True) if one != other)
        what = f"the adapter was trained with {tokens} tokens, and the model has {known}: {what}"
        fix = (
            f"give the base its vocabulary: model.resize_token_embeddings({tokens}), save_pretrained it into a folder "
            "with the adapter's tokenizer, and name that folder as the base: BASE+ADAPTER"
        )
    return MendableError(what, str(folder / ADAPTER_FILE), fix)


def _misfit(folder: Path, there: list[str], here: list[str]) -> MendableError:
    return MendableError(
        f"the adapter does not fit the model: the file has {_some(there)}; the model has {_some(here)}",
        str(folder),
        "name the model that it was trained on; names of older versions are translated by the family's card (former)",
    )


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3]) or "none"
    return f"{len(names)} names of its own ({shown}{', …' if len(names) > 3 else ''})"
