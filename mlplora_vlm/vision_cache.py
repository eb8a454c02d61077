"""What a frozen vision tower makes of a picture, computed once and kept in host memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

GIB = 2**30


class VisionCache:
    """Stands before a model's vision tower, and answers for each picture that it has seen before.

    A picture is known by its pixels.  Each is computed alone, never among others: so its features do not depend on the
    batch that it first came in, and a training gives the same numbers whatever ran before it.  The tower is asked
    every time where it is trained, where it drops out at random, or where it takes more than a batch of equal pictures.

    ``limit``: bytes that are kept; pictures after that are computed at each look.
    """

    def __init__(self, model: nn.Module, limit: int = 8 * GIB) -> None:
        """``model``: a transformers model; without a vision tower of its own nothing is ever kept."""
        find: Any = getattr(model, "get_encoder", None)
        tower = find(modality="image") if find else model
        self.tower: nn.Module | None = None if tower is model else tower
        self.limit, self.bytes = limit, 0
        self._kept: dict[bytes, Any] = {}

    def __len__(self) -> int:
        """Pictures that are kept."""
        return len(self._kept)

    @contextmanager
    def used(self) -> Iterator[None]:
        """Inside, the model's tower is asked through the cache."""
        tower = self.tower
        if tower is None:
            yield
            return
        own, ask = tower.__dict__.get("forward"), tower.forward
        tower.forward = lambda *args, **kwargs: self._forward(ask, *args, **kwargs)
        try:
            yield
        finally:
            del tower.forward
            if own is not None:
                tower.forward = own

    def _forward(self, ask: Any, pixel_values: Tensor | None = None, *args: Any, **kwargs: Any) -> Any:
        others = [*args, *kwargs.values()]
        if not isinstance(pixel_values, Tensor) or any(isinstance(o, Tensor) for o in others) or self._changes():
            return ask(pixel_values, *args, **kwargs)
        about = f"{others} {pixel_values.dtype} {torch.is_autocast_enabled(pixel_values.device.type)}".encode()
        found = []
        for picture in pixel_values.split(1):
            key = hashlib.sha256(
                about + picture.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
            ).digest()
            output = self._kept.get(key)
            if output is None:
                with torch.no_grad():
                    output = ask(picture, *args, **kwargs)
                if not _of_one(output):
                    return ask(pixel_values, *args, **kwargs)
                output = _to(output, torch.device("cpu"))
                size = sum(t.nbytes for t in _tensors(output))
                if self.bytes + size <= self.limit:
                    self._kept[key], self.bytes = output, self.bytes + size
            found.append(output)
        return _to(_joined(found), pixel_values.device)

    def _changes(self) -> bool:
        """Whether the same picture may give something else the next time."""
        assert self.tower is not None
        trained = any(p.requires_grad for p in self.tower.parameters())
        random = any(isinstance(m, nn.Dropout) and m.p > 0 and m.training for m in self.tower.modules())
        return trained or random


def _of_one(output: Any) -> bool:
    """Whether it is one of transformers' outputs, and all its tensors have one row, the picture's."""
    tensors = list(_tensors(output))
    return isinstance(output, dict) and bool(tensors) and all(t.dim() and len(t) == 1 for t in tensors)


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, dict | tuple | list):
        for part in output.values() if isinstance(output, dict) else output:
            yield from _tensors(part)


def _to(output: Any, device: torch.device) -> Any:
    return _mapped(lambda tensors: tensors[0].to(device), [output])


def _joined(outputs: list[Any]) -> Any:
    return _mapped(torch.cat, outputs)


def _mapped(change: Any, outputs: list[Any]) -> Any:
    """Outputs of one structure → one of that structure, each tensor made by ``change`` from those in its place."""
    first = outputs[0]
    if isinstance(first, Tensor):
        return change(outputs)
    if isinstance(first, dict):
        parts = {key: _mapped(change, [output[key] for output in outputs]) for key in first}
        return type(first)(**parts)
    if isinstance(first, tuple | list):
        return type(first)(_mapped(change, list(parts)) for parts in zip(*outputs, strict=True))
    return first
