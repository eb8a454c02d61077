"""Models that are made here instead of downloaded, under ids like a hub's: ``demo/…``."""

from __future__ import annotations

from pathlib import Path

from mlplora_vlm.errors import MendableError, did_you_mean
from mlplora_vlm.files import sha256


def _smollm2() -> Path:
    from data_prep.demo.smollm2_llava import assemble

    return assemble()


def _tiny() -> Path:
    from data_prep.demo.folder_cache import cached_folder
    from data_prep.demo.packages import package_version
    from data_prep.demo.tiny_llava import CHAT_TEMPLATE, build

    made_from = {
        "script": sha256(Path(__file__).with_name("tiny_llava.py")),
        "chat_template": sha256(CHAT_TEMPLATE),
        "transformers": package_version("transformers"),
    }

    def fill(folder: Path) -> None:
        build(folder)

    return cached_folder("tiny_llava", made_from, fill, size=4_000_000)


EMBEDDED = {"demo/llava-smollm2-135m": _smollm2, "demo/llava-tiny": _tiny}


def model_path(model_id: str) -> str:
    """The folder of an embedded model, made at the first call; any other id or folder is returned as it is."""
    if not model_id.startswith("demo/"):
        return model_id
    check_model(model_id)
    return str(EMBEDDED[model_id]())


def check_model(model_id: str) -> None:
    """Raises MendableError for an embedded model that is not known, or whose packages are missing."""
    if model_id not in EMBEDDED:
        raise MendableError(
            f"there is no embedded model {model_id!r}{did_you_mean(model_id, EMBEDDED)}",
            "model.id",
            f"known: {', '.join(EMBEDDED)}",
        )
    if EMBEDDED[model_id] is _smollm2:
        from data_prep.demo.smollm2_llava import check_packages

        check_packages()
