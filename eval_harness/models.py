"""Whoever is to answer, by a word: an endpoint's address, a hub id, or a folder with a model or an adapter."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.demo.models import model_path
from eval_harness.answerer import Answerer
from mlplora_vlm.load import ModelSection

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


def open_answerer(word: str, settings: ModelSection | None = None) -> Answerer:
    """``http(s)://host:port/v1#model``: an endpoint; else an adapter's folder, a model's, or a hub id.

    Of ``settings`` counts all but the id.  Raises MendableError for what cannot be opened.
    """
    if word.startswith(("http://", "https://")):
        from eval_harness.endpoint import Endpoint

        url, _, name = word.partition("#")
        return Endpoint(url, name)
    from eval_harness.local_model import LocalModel
    from mlplora_vlm.load import best_device, load_model, load_processor, load_tuned

    folder, device = Path(word).expanduser(), best_device()
    model: PreTrainedModel | PeftModel
    if (folder / "adapter_config.json").is_file():
        base = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))["base_model_name_or_path"]
        own = replace(settings or ModelSection(base), id=base)
        model, path = load_tuned(model_path(base), folder, own, device), model_path(base)
    else:
        path = model_path(str(folder) if folder.is_dir() else word)
        own = replace(settings or ModelSection(path), id=path)
        model = load_model(path, own, device)
    return LocalModel(model, load_processor(path, own), word)
