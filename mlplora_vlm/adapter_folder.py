"""Puts a saved adapter on a model, also one whose layers were called otherwise in an older transformers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplora_vlm.checkpoint import ADAPTER_FILE
from mlplora_vlm.errors import MendableError
from mlplora_vlm.families.card import FamilyCard, card_of

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

ROOT = "base_model.model."
"""What PEFT puts before a layer's name in an adapter file."""
ADAPTER_TENSOR = re.compile(r"\.(?:lora|vera)_")
"""Where a layer's name ends and that of one of its adapter's tensors begins."""


def put_on(model: PreTrainedModel, folder: Path) -> PeftModel:
    """The model with the folder's adapter on it, ready to answer.

    Raises `MendableError` as `fitted` does; PEFT alone warns, and the model then answers as if it were not trained.
    """
    from peft import set_peft_model_state_dict

    tuned, tensors = fitted(model, folder)
    set_peft_model_state_dict(tuned, tensors)
    return tuned


def fitted(model: PreTrainedModel, folder: Path) -> tuple[PeftModel, dict[str, Tensor]]:
    """The model with a fresh adapter like the folder's on it, and the folder's tensors under that adapter's names.

    Works on the meta device too.  Raises `MendableError` with both sets of names unless every tensor of the file finds
    its place and every place its tensor.
    """
    from peft import PeftConfig, PeftModel, get_peft_model_state_dict
    from safetensors.torch import load_file

    config, tensors = PeftConfig.from_pretrained(str(folder)), load_file(folder / ADAPTER_FILE)
    card = card_of(model.config)
    tensors = with_present_names(model, config, tensors)
    layers = {_home(name) for name in tensors if name.startswith(ROOT) and ADAPTER_TENSOR.search(name)}
    if strangers := sorted(layer for layer in layers if not _has(model, layer)):
        raise _misfit(folder, [n for n in tensors if _home(n) in strangers], _alike(model, layers))
    config.target_modules = layers
    if config.modules_to_save:
        config.modules_to_save = [
            _renamed(f"{path}.weight", model, card).removesuffix(".weight") for path in config.modules_to_save
        ]
    tuned = PeftModel(model, config, autocast_adapter_dtype=False).eval()
    wanted = get_peft_model_state_dict(tuned, save_embedding_layers=False).keys()  # not "auto": it asks the hub
    if wanted != tensors.keys():
        raise _misfit(folder, sorted(tensors.keys() - wanted), sorted(wanted - tensors.keys()))
    return tuned, tensors


def with_present_names(model: Any, config: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The file's tensors under the names that the model's layers have today.

    PEFT translates first; what it leaves without a place goes by the card.  PEFT 0.21 undoes any renaming that only
    puts ``model.`` before a name (projectors, most towers), and knows none for Qwen2-VL and Qwen2.5-VL.
    """
    from peft.utils.transformers_weight_conversion import convert_peft_adapter_state_dict_for_transformers

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    card = card_of(base.config)
    if all(_has(base, _home(name)) for name in tensors):
        return tensors
    translated: dict[str, Tensor] = convert_peft_adapter_state_dict_for_transformers(base, config, tensors)
    if not any(_has(base, _home(name)) for name in translated):
        translated = tensors  # its patterns fit parts of any name: an error is to show those that are in the file
    return {
        name if _has(base, _home(name)) else ROOT + _renamed(name.removeprefix(ROOT), base, card): tensor
        for name, tensor in translated.items()
    }


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
    return name[: found.start()] if found else name.rpartition(".")[0]


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


def _misfit(folder: Path, there: list[str], here: list[str]) -> MendableError:
    return MendableError(
        f"the adapter does not fit the model: the file has {_some(there)}; the model has {_some(here)}",
        str(folder),
        "name the model that it was trained on; names of older versions are translated by the family's card (former)",
    )


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3]) or "none"
    return f"{len(names)} names of its own ({shown}{', …' if len(names) > 3 else ''})"
