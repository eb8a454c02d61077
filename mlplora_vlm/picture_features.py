"""What vision tower and projector make of pictures, computed once for questions about the same picture in a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch

from mlplora_vlm.inputs import on_model

if TYPE_CHECKING:
    from PIL.Image import Image

    from mlplora_vlm.families.processor import FamilyProcessor

POOLED, LAYERS = "pooler_output", "deepstack_features"
"""What language models read of an encoder's output: the pictures' features, and further ones for some of the layers."""
SHARED = ("visual_indicator_features",)
"""What is the same whatever the pictures (Ovis2's markers)."""


class PictureFeatures:
    """Gives ``generate`` encoded pictures in place of pixels wherever a batch shows a picture more than once.

    Those of the last batch are kept for the next one, on the model's device: questions about one picture should follow
    each other.  Of families whose ``forward`` takes no encoded pictures (Mllama), and of rows whose pictures cost
    otherwise together than alone, nothing is ever put in place.  ``encoded`` counts the pictures that were encoded
    here, ``shown`` those that batches were given.
    """

    def __init__(self, model: Any, processor: FamilyProcessor) -> None:
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        takes = "mm_encoder_outputs" in signature(base.forward).parameters
        self._encode: Callable[..., Any] | None = (
            getattr(base.base_model, "get_image_features", None) if takes else None
        )
        self._model, self._processor = base, processor
        self._kept: dict[str, Any] = {}
        self.encoded = self.shown = 0

    def put_in(
        self, batch: Mapping[str, Any], rows: Sequence[Sequence[str]], picture: Callable[[str], Image]
    ) -> dict[str, Any]:
        """The batch, with ``mm_encoder_outputs`` for its pixels where that saves work.

        ``rows`` names each row's pictures, in their order; ``picture`` opens one by its name.
        """
        names = [name for row in rows for name in row]
        together = self._processor.card.counted_together and any(len(row) > 1 for row in rows)
        new = [name for name in dict.fromkeys(names) if name not in self._kept]
        if self._encode is None or together or "pixel_values" not in batch or len(new) == len(names):
            self._kept = {}
            return dict(batch)
        made = self._features([picture(name) for name in new]) if new else []
        known = self._kept | dict(zip(new, made, strict=True))
        self._kept = {name: known[name] for name in names}
        self.encoded, self.shown = self.encoded + len(new), self.shown + len(names)
        rest = {key: value for key, value in batch.items() if key != "pixel_values"}
        return rest | {"mm_encoder_outputs": {"image": _joined([known[name] for name in names])}}

    def forget(self) -> None:
        """Frees what is kept."""
        self._kept = {}

    def _features(self, pictures: Sequence[Image]) -> list[Any]:
        """The encoder's output for each picture: all at once, where what comes can be told apart again."""
        output = self._encoded(pictures)
        if len(pictures) == 1:
            return [output]
        return _apart(output, len(pictures)) or [self._encoded([picture]) for picture in pictures]

    def _encoded(self, pictures: Sequence[Image]) -> Any:
        assert self._encode is not None
        text = (self._processor.tokenizer.bos_token or "") + self._processor.placeholder
        inputs = self._processor(
            text=[text] * len(pictures),
            images=[[picture] for picture in pictures],
            add_special_tokens=False,
            padding=True,
            return_tensors="pt",
        )
        taken = signature(self._encode).parameters
        own = {key: value for key, value in inputs.items() if key in taken}
        return self._encode(**on_model(own, self._model), return_dict=True)


def _apart(output: Any, count: int) -> list[Any] | None:
    """The output of each of ``count`` pictures; None where it does not hold one thing a picture."""
    if any(len(features) != count for features in _held(output)):
        return None
    return [_mapped(output, partial(_only, number), [output]) for number in range(count)]


def _only(number: int, parts: Sequence[Any]) -> Any:
    return parts[0][number : number + 1]


def _joined(outputs: Sequence[Any]) -> Any:
    """One output that holds the pictures of all, in their order."""
    return _mapped(outputs[0], _in_a_row, outputs)


def _mapped(like: Any, change: Callable[[Sequence[Any]], Any], outputs: Sequence[Any]) -> Any:
    """An output of the kind of ``like``: what ``change`` makes of each place's features in all ``outputs``."""
    made = {key: like[key] for key in SHARED if like.get(key) is not None}
    if like.get(POOLED) is not None:
        made[POOLED] = change([output[POOLED] for output in outputs])
    if like.get(LAYERS) is not None:
        made[LAYERS] = [
            _with_layer(layer, change([_of_layer(output[LAYERS][number]) for output in outputs]))
            for number, layer in enumerate(like[LAYERS])
        ]
    return type(like)(**made)


def _held(output: Any) -> list[Any]:
    """Each place's features."""
    pooled = [output[POOLED]] if output.get(POOLED) is not None else []
    return pooled + [_of_layer(layer) for layer in output.get(LAYERS) or []]


def _of_layer(layer: Any) -> Any:
    """A layer's features; some families give (the layer's number, features)."""
    return layer[1] if isinstance(layer, tuple) and len(layer) == 2 and isinstance(layer[0], int) else layer


def _with_layer(like: Any, features: Any) -> Any:
    return features if _of_layer(like) is like else (like[0], features)


def _in_a_row(parts: Sequence[Any]) -> Any:
    """Tensors one after the other, or the items of lists and tuples."""
    if isinstance(parts[0], torch.Tensor):
        return torch.cat(list(parts))
    return type(parts[0])(item for part in parts for item in part)
