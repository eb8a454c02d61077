"""What a word on the command line names: a base model, an adapter, a merged model, a 4-bit base, an endpoint."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplora_vlm.adapter_file import PICKLE, read_config
from mlplora_vlm.base_files import IMAGE_SETTINGS
from mlplora_vlm.checkpoint import ADAPTER_FILE, CONFIG_FILE
from mlplora_vlm.errors import MendableError, reason
from mlplora_vlm.files import sha256

if TYPE_CHECKING:
    from eval_harness.answerer import Answerer
    from eval_harness.local_model import LocalModel
    from mlplora_vlm.families.processor import FamilyProcessor
    from mlplora_vlm.load import ModelSection

ADAPTER_PARTS = ("adapter_*", "*.json", "*.jinja", "*.model", "*.txt")
"""Of a hub's adapter: its tensors and settings, and the processor's, whatever that consists of."""
QUANTIZED = re.compile(r"(.+)@(nf4|fp4|int8)")
WORDS = """\
a model is a folder or a hub id: of a base model, of a merged one, or of an adapter (its base is the one that it names,
or BASE in BASE+ADAPTER); @nf4, @fp4 or @int8 behind it quantizes the base.  http://host:port/v1#NAME is the model NAME
at an OpenAI-compatible endpoint, such as vLLM's."""
"""The help text of such words."""


def model_name(word: str) -> str:
    """What the model's results are filed under: the ends of its paths."""
    ends = [re.sub(r"[^\w.-]+", "-", "-".join(Path(part).parts[-2:])) for part in re.split(r"\+|#", word)]
    return "+".join(end.strip("-.") or "model" for end in ends)


@contextmanager
def opened(word: str, settings: ModelSection) -> Iterator[Answerer]:
    """The model that ``word`` names, loaded as ``settings`` say but for its id; its memory is free again afterwards.

    Raises MendableError where the word names nothing that can answer.
    """
    if re.match(r"https?://", word):
        from eval_harness.endpoint import Endpoint

        url, _, name = word.partition("#")
        if not name:
            raise MendableError("the endpoint's model is not named", word, "write http://host:port/v1#NAME")
        yield Endpoint(url, name)
        return
    import gc

    import torch

    model = _local(word, settings)
    try:
        yield model
    finally:
        model.close()  # the caller's variable still holds it while the next one is loaded
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _local(word: str, settings: ModelSection) -> LocalModel:
    from data_prep.demo.models import model_path
    from eval_harness.local_model import LocalModel
    from mlplora_vlm.adapter_folder import check_fit, put_on
    from mlplora_vlm.load import load_model, local_device

    asked: Any  # one of the section's own choices
    plain, asked = found.groups() if (found := QUANTIZED.fullmatch(word)) else (word, settings.quantization)
    base, name, adapter = _base_and_adapter(plain)
    settings = replace(settings, id=base, quantization=asked)
    path, device = model_path(base), local_device()
    about: dict[str, Any] = {"base": base, "quantization": settings.quantization}
    if adapter:
        check_fit(path, settings, adapter)
    processor = _processor(path, settings, adapter)
    model: Any = load_model(path, settings, device)
    if adapter:
        model = put_on(model, adapter)
        about |= {"adapter": name, "adapter_sha256": sha256(adapter / ADAPTER_FILE)}
    return LocalModel(model.eval(), processor, model_name(word), about)


def _processor(path: str, settings: ModelSection, adapter: Path | None) -> FamilyProcessor:
    """The processor that the adapter was trained with, where its folder holds one in any layout; else the base's.

    A tokenizer without image settings is none: which pixels and image tokens it was trained with, the base alone says,
    and the chat template of a text trainer may drop the images.
    """
    from mlplora_vlm.load import load_processor

    if adapter and any((adapter / name).is_file() for name in IMAGE_SETTINGS):
        return load_processor(path, settings, adapter)
    if adapter and (adapter / "tokenizer_config.json").is_file():
        note = f"{adapter} holds a tokenizer without image settings ({' or '.join(IMAGE_SETTINGS)})"
        print(f"{note}: the base's processor and chat template are used", file=sys.stderr)
    return load_processor(path, settings)


def _base_and_adapter(word: str) -> tuple[str, str, Path | None]:
    """(the base's name, the adapter's, the adapter's folder: None where the word names a model alone)."""
    base, plus, name = word.rpartition("+")
    why = ""
    try:
        folder = _adapter_folder(name)
    except OSError as error:  # no such folder or repo
        folder, why = None, f": {reason(error)}"
    if folder is None:
        if plus:
            what = f"there is no adapter in {name!r}{why}"
            raise MendableError(what, word, "name a folder or a hub repo with an adapter_config.json")
        return word, "", None  # whoever loads it says what is wrong with it
    named = base or read_config(folder).get("base_model_name_or_path")
    if not named:
        raise MendableError("the adapter does not name its base model", str(folder / CONFIG_FILE), "write BASE+ADAPTER")
    return named, name, folder


def _adapter_folder(name: str) -> Path | None:
    """Where the adapter's files lie, from the hub if need be; None for what is no adapter."""
    from transformers.utils import find_adapter_config_file

    from data_prep.demo.models import model_path
    from mlplora_vlm.hub_errors import told

    path = model_path(name)
    if any((Path(path) / file).is_file() for file in (ADAPTER_FILE, PICKLE)):
        return Path(path)  # without its configuration it is still no model
    if find_adapter_config_file(path) is None:
        return None
    if Path(path).is_dir():
        return Path(path)
    from huggingface_hub import snapshot_download

    with told(name, "the adapter cannot be downloaded"):
        return Path(snapshot_download(name, allow_patterns=list(ADAPTER_PARTS)))
