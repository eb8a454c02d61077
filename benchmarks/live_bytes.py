"""Bytes of live tensors by kind while a training step runs, on the CPU too, where no allocator keeps statistics.

Each storage is seen when an operation first returns a tensor of it, and is gone when the storage is freed (a weak
reference to it); so views and in-place operations count once.  What it is follows from who uses it: named beforehand
(parameters, states, inputs), saved by autograd for the backward pass (activations), left in ``.grad`` by the backward
pass (gradients); anything else is passing.  What an operation allocates and frees inside its kernel is not seen:
`allocated` tells how much that is, from the profiler's log of every allocation.
"""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

PASSING = "passing"


class LiveBytes(TorchDispatchMode):
    """Inside it, ``now`` and ``peak`` are bytes by kind; ``known``: what lives already, by kind."""

    def __init__(self, known: Mapping[str, Iterable[Tensor]]) -> None:
        super().__init__()
        self.now: Counter[str] = Counter()
        self.peak: dict[str, int] = {}
        self._total = self._most = 0
        self._kinds: dict[int, str] = {}
        self._watched: dict[int, weakref.ref[Any]] = {}
        for kind, tensors in known.items():
            for tensor in tensors:
                self._meet(tensor, kind)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the operation and looks at what it returned."""
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self._meet(leaf, PASSING)
        return out

    def mark(self, tensor: Tensor, kind: str) -> None:
        """From now on a passing tensor is of that kind."""
        key = tensor.untyped_storage()._cdata
        if self._kinds.get(key) == PASSING:
            size = tensor.untyped_storage().nbytes()
            self.now[PASSING] -= size
            self.now[kind] += size
            self._kinds[key] = kind

    def _meet(self, tensor: Tensor, kind: str) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._kinds:
            return
        self._kinds[key] = kind
        self._watched[key] = weakref.ref(storage, lambda _: self._lose(key, size))
        self.now[kind] += size
        self._total += size
        if self._total > self._most:
            self._most, self.peak = self._total, dict(self.now)

    def _lose(self, key: int, size: int) -> None:
        self.now[self._kinds.pop(key)] -= size
        self._total -= size
        del self._watched[key]


@contextmanager
def watched(known: Mapping[str, Iterable[Tensor]], trained: Iterable[Tensor]) -> Iterator[LiveBytes]:
    """A `LiveBytes` that knows the activations of what runs inside, and the gradients of ``trained`` leaf tensors."""
    live = LiveBytes(known)

    def saved(tensor: Tensor) -> Tensor:
        live.mark(tensor, "activations")
        return tensor

    def accumulated(leaf: Tensor) -> None:
        if leaf.grad is not None:
            live.mark(leaf.grad, "gradients")

    hooks = [tensor.register_post_accumulate_grad_hook(accumulated) for tensor in trained]
    try:
        with torch.autograd.graph.saved_tensors_hooks(saved, lambda tensor: tensor), live:
            yield live
    finally:
        for hook in hooks:
            hook.remove()


def allocated(run: Callable[[], object]) -> int:
    """By how many bytes the CPU allocator's use rises at most while ``run`` runs, by the profiler's log."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as log:
        run()
    events = [e for e in log.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


def living() -> dict[int, tuple[int, Tensor]]:
    """Every storage that a tensor of Python's holds: its address → (bytes, one of its tensors).

    Those that a compiler makes up while it traces hold nothing.
    """
    gc.collect()
    tensors = [t for t in gc.get_objects() if issubclass(type(t), Tensor) and not isinstance(t, FakeTensor)]
    return {t.untyped_storage()._cdata: (t.untyped_storage().nbytes(), t) for t in tensors}
