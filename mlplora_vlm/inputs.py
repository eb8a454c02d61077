"""Batches as a model takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def on_model(batch: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """The batch on the model's device, pictures in its precision."""
    return {
        key: value.to(model.device, model.dtype) if value.is_floating_point() else value.to(model.device)
        for key, value in batch.items()
    }
