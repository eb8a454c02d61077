"""A trained generator kept beside its collapsed adapter: another training with `adapter.init_from` goes on with both.

``FOLDER-generator/`` holds the optimizer's safetensors files, as the checkpoint has them, and ``generator.json``: the
hash of the adapter that they made, and the settings without which they cannot be read.  ``FOLDER/`` itself stays a
stock adapter.  Without the folder beside it, `init_from` draws a new generator around the adapter's present values.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplora_vlm.checkpoint import ADAPTER_FILE
from mlplora_vlm.collapse import tensors_digest
from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import read_json, read_tensors, replaced_folder, write_json

if TYPE_CHECKING:
    from mlplora_vlm.attach import AdapterSection
    from mlplora_vlm.training import TrainSection

TOLD = "generator.json"


def beside(adapter: Path) -> Path:
    """Where the generator of an adapter folder is kept."""
    return adapter.with_name(f"{adapter.name}-generator")


def settings_of(adapter: AdapterSection, train: TrainSection) -> dict[str, Any]:
    """What two trainings must have in common for the one to go on with the other's generator."""
    generator = adapter.generator
    told = {key: getattr(generator, key) for key in ("form", "hidden", "z_dim", "z_std", "states", "weights")}
    return told | {"seed": train.seed, "optimizer": train.optimizer}


def keep_generator(checkpoint: Path, adapter: Path, settings: dict[str, Any]) -> Path:
    """Copies the generator's part of a checkpoint beside the adapter that was collapsed from it.

    Raises `MendableError` where the checkpoint lacks files or holds another adapter than that, and where the folder
    for it is not empty.
    """
    from mlplora_vlm.states import saved_processes, state_files

    files = state_files(checkpoint)
    saved_processes(checkpoint)  # reads what is in them
    digests = [tensors_digest(read_tensors(folder / ADAPTER_FILE)) for folder in (checkpoint, adapter)]
    if digests[0] != digests[1]:
        raise MendableError(
            "the checkpoint's generator made another adapter than the one that was collapsed",
            str(checkpoint),
            "collapse the checkpoint itself: give its folder",
        )
    out = beside(adapter)
    with replaced_folder(out) as part:
        for file in files:
            shutil.copyfile(file, part / file.name)
        write_json(part / TOLD, {"adapter_sha256": digests[1], "settings": settings})
    return out


def kept_generator(adapter: AdapterSection, train: TrainSection) -> Path | None:
    """The folder of the generator that belongs to ``adapter.init_from``; None where none was kept or none is wanted.

    Raises `MendableError` where it belongs to another adapter, or was made with other settings than these.
    """
    if adapter.init_from is None or not adapter.generated:
        return None
    folder = Path(adapter.init_from).expanduser()
    kept = beside(folder)
    if not (kept / TOLD).is_file():
        return None
    told, here = read_json(kept / TOLD, dict), settings_of(adapter, train)
    made, settings = told.get("adapter_sha256"), told.get("settings")
    without = f"or move {kept} away, and a new generator is drawn around the adapter"
    if not isinstance(settings, dict) or made != tensors_digest(read_tensors(folder / ADAPTER_FILE)):
        raise MendableError("the generator beside the adapter belongs to another one", str(kept), without)
    differing = [f"{key} is {value!r} there and {here.get(key)!r} here" for key, value in settings.items()
                 if here.get(key) != value]  # fmt: skip
    if differing:
        raise MendableError(
            f"the generator beside the adapter was trained otherwise: {'; '.join(differing)}",
            str(kept),
            f"set adapter.generator, train.seed and train.optimizer as it has them, {without}",
        )
    return kept
