"""The configuration values that models are published with: enough to plan a run without the weights or a network.

Each file in ``published/`` holds the model's ``id``, the ``source`` of its values and the ``config`` itself.
"""

from __future__ import annotations

import functools
import json
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@functools.cache
def _published() -> dict[str, dict[str, Any]]:
    """The ``config`` of every file, by model id."""
    folder = resources.files("mlplora_vlm.families").joinpath("published")
    facts = [json.loads(file.read_text("utf-8")) for file in folder.iterdir() if file.name.endswith(".json")]
    return {fact["id"]: fact["config"] for fact in sorted(facts, key=lambda fact: str(fact["id"]))}


def published_ids() -> list[str]:
    """The models whose configuration is kept here."""
    return list(_published())


def published_config(model_id: str) -> PreTrainedConfig | None:
    """The model's configuration, or None where it is not kept here."""
    values = _published().get(model_id)
    if values is None:
        return None
    from transformers import AutoConfig

    return AutoConfig.for_model(**json.loads(json.dumps(values)))  # a copy: transformers changes nested dicts in place
