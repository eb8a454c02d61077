"""The configuration values that models are published with: enough to plan a run without the weights or a network.

Each file in ``published/`` holds the model's ``id``, the ``source`` of its values and the ``config`` itself; most have
``implied`` (values that the source leaves to transformers' defaults), ``parameters`` (how many the published checkpoint
has) and ``processor`` (picture settings, laid out as in processor_config.json) too.
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
    """What every file holds, by model id."""
    folder = resources.files("mlplora_vlm.families").joinpath("published")
    facts = [json.loads(file.read_text("utf-8")) for file in folder.iterdir() if file.name.endswith(".json")]
    return {fact["id"]: fact for fact in sorted(facts, key=lambda fact: str(fact["id"]))}


def _copy(model_id: str, key: str) -> dict[str, Any] | None:
    """One object of the model's file, or None: the caller may change it, as transformers does with nested dicts."""
    values = _published().get(model_id, {}).get(key)
    return None if values is None else json.loads(json.dumps(values))


def published_ids() -> list[str]:
    """The models whose configuration is kept here."""
    return list(_published())


def published_config(model_id: str) -> PreTrainedConfig | None:
    """The model's configuration, or None where it is not kept here."""
    values = _copy(model_id, "config")
    if values is None:
        return None
    from transformers import AutoConfig

    return AutoConfig.for_model(**values)


def published_processor(model_id: str) -> dict[str, Any] | None:
    """Picture settings, or None where they are not kept here.

    ``image_processor`` holds arguments of the family's image processor, the other keys are arguments of its processor.
    """
    return _copy(model_id, "processor")


def published_parameters(model_id: str) -> int | None:
    """How many parameters the published checkpoint holds, tied ones once, or None where that is not kept here."""
    count: int | None = _published().get(model_id, {}).get("parameters")
    return count
