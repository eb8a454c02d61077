"""Models that are made here instead of downloaded, under ids like a hub's: ``demo/…``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.demo.tiny import FAMILIES, tiny_family
from mlplora_vlm.errors import MendableError, did_you_mean
from mlplora_vlm.files import sha256

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

SMOLLM2, TINY = "demo/llava-smollm2-135m", "demo/tiny-"
EMBEDDED = (SMOLLM2, *(TINY + name for name in FAMILIES))

LICENCES = {
    SMOLLM2: "apache-2.0",  # language weights Apache-2.0, vision weights MIT (smollm2_llava.py), the projector ours
    **{TINY + name: "apache-2.0" for name in FAMILIES},  # drawn at random by this project
}
"""The hub's identifier of each embedded model's licence."""


def model_path(model_id: str) -> str:
    """The folder of an embedded model, made at the first call; any other id or folder is returned as it is."""
    if not model_id.startswith("demo/"):
        return model_id
    check_model(model_id)
    if model_id == SMOLLM2:
        from data_prep.demo.smollm2_llava import assemble

        return str(assemble())
    return str(_tiny(model_id.removeprefix(TINY)))


def tiny_config(model_id: str) -> PreTrainedConfig | None:
    """A tiny model's configuration, made on the spot; None for any other model."""
    from data_prep.demo.tiny.build import build_config

    name = model_id.removeprefix(TINY)
    return build_config(tiny_family(name)) if model_id.startswith(TINY) and name in FAMILIES else None


def check_model(model_id: str) -> None:
    """Raises MendableError for an embedded model that is not known, or whose packages are missing."""
    if model_id not in EMBEDDED:
        raise MendableError(
            f"there is no embedded model {model_id!r}{did_you_mean(model_id, EMBEDDED)}",
            "model.id",
            f"known: {', '.join(EMBEDDED)}",
        )
    if model_id == SMOLLM2:
        from data_prep.demo.smollm2_llava import check_packages

        check_packages()


def _tiny(name: str) -> Path:
    from data_prep.demo.folder_cache import cached_folder
    from data_prep.demo.packages import package_version
    from data_prep.demo.tiny.build import build

    here = Path(__file__).with_name("tiny")
    made_from = {
        "build": sha256(here / "build.py"),
        "row": sha256(here / f"{name}.py"),
        "chat_template": sha256(Path(__file__).with_name("chat_template.jinja")),
        "transformers": package_version("transformers"),
    }

    def fill(folder: Path) -> None:
        build(folder, tiny_family(name))

    return cached_folder(f"tiny-{name}", made_from, fill, size=4_000_000)
