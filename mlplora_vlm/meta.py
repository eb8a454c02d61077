"""Builds a model's architecture without its weights: names, shapes and layer types, in a second and no memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlplora_vlm.errors import library_errors

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel


def meta_model(config: PreTrainedConfig, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """The image-text-to-text model of ``config`` on PyTorch's meta device.

    ``dtype``: its precision; None: the configuration's.  Everything that needs only names and shapes works on it,
    `mlplora_vlm.attach.attach` too.
    Raises `MendableError` for a configuration that is not of such a model.
    """
    import torch
    from transformers import AutoModelForImageTextToText

    precision = {} if dtype is None else {"dtype": dtype}
    what = f"no image-text-to-text model can be built of config.json (model_type {config.model_type!r})"
    with library_errors(what, "model.id", "copy config.json from the model as it was published"), torch.device("meta"):
        model: PreTrainedModel = AutoModelForImageTextToText.from_config(config, **precision)
    return model
