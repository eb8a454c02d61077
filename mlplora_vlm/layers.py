"""What the optimizer holds for each of its groups on this process: a generator, or plain moments; and their state."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mlplora_vlm import generator
from mlplora_vlm.errors import MendableError
from mlplora_vlm.generator import BY_ROW, TRAINED, Generator
from mlplora_vlm.inner import Inner, moments_fault, stochastic_bfloat16
from mlplora_vlm.sharding import Share, local

State = dict[str, Any]
"""A group's state on one process: ``rows`` (int32 where they fit, see `Share.rows`), and nested dicts of tensors and
numbers."""


class GeneratedLayer:
    """One layer's generator on this process: the rows it owns, and their inner optimizer.

    ``columns(units)`` makes the columns that W2 began with, shape (rows, units): where ``tensors`` hold "awake", W2
    gets a unit's column when it is on for the first time.  Until then AdamW would have done nothing to it but decay it.
    """

    def __init__(
        self,
        name: str,
        tensors: Generator,
        share: Share,
        inner: Inner,
        relu: bool = True,
        bf16: bool = False,
        columns: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        device = tensors["z"].device
        self.name, self.share, self.relu, self.bf16 = name, share, relu, bf16
        self.tensors = {n: t.requires_grad_(n in TRAINED) for n, t in tensors.items()}
        self.trained = {n: self.tensors[n] for n in TRAINED}
        self.owned = (share.rows >= 0).to(device)
        self.inner = inner(list(self.trained.values()))
        self.columns, self.decay, self.steps = columns, 1.0, 0
        self._shrink()

    def gradient(self, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(∂L/∂P of the owned rows, ∂L/∂h and ‖∂L/∂P‖² over all rows) from ∂L/∂P of the local rows.

        Raises `MendableError` where a gradient is not finite, on every process alike, before anything has changed.
        """
        # an engine promises nothing about the gradient of its padding
        grad = torch.where(self.owned, grad.to(self.owned.device), 0.0)
        wide = self.tensors | {"W2": self.tensors["W2"].float()}
        total = self.share.sum(torch.cat([generator.hidden_gradient(wide, grad), grad.square().sum()[None]]))
        if not total[-1].isfinite():
            raise MendableError(
                "the gradient is not finite; no layer after this one was changed",
                self.name,
                "resume from the last checkpoint with a lower learning rate, and look at the data of this step",
            )
        return grad, total[:-1], total[-1]

    def squared_norm(self, dh: Tensor, squared_grad: Tensor) -> Tensor:
        """‖∇‖² of the generator's own tensors, over all rows."""
        return generator.squared_gradient_norm(self.tensors, squared_grad, dh, self.relu)

    def step(self, grad: Tensor, dh: Tensor, settings: Mapping[str, Any]) -> Tensor:
        """One inner step from what `gradient` returned; returns the new local rows of P, shape (rows,)."""
        self._widen()
        for name, gradient in generator.generator_gradients(self.tensors, grad, dh, self.relu).items():
            self.trained[name].grad = gradient
        self.inner.param_groups[0].update(settings)
        if "scale" in self.tensors and settings["weight_decay"]:
            self._decay_by_row(settings)
        self.inner.step()
        for tensor in self.trained.values():
            tensor.grad = None
        self.decay *= 1 - settings["lr"] * settings["weight_decay"]
        self._wake()
        self.steps += 1
        self._shrink()
        return self.generate()

    def _decay_by_row(self, settings: Mapping[str, Any]) -> None:
        """Weight decay in place of the inner optimizer's, which does not know the rows' own learning rates."""
        self.inner.param_groups[0]["weight_decay"] = 0.0
        for name, tensor in self.trained.items():
            rate = self.tensors["scale"] * settings["weight_decay"] if name in BY_ROW else settings["weight_decay"]
            rate = rate[:, None] if name == "W2" else rate
            if "betas" in settings:  # AdamW decays the weights themselves, SGD through the gradient
                tensor.mul_(1 - settings["lr"] * rate)
            elif tensor.grad is not None:
                tensor.grad.add_(rate * tensor)

    def generate(self) -> Tensor:
        """The local rows of P, shape (rows,)."""
        return generator.generate(self.tensors | {"W2": self.tensors["W2"].float()}, self.relu)

    def keep(self, P: Tensor) -> None:
        """From now on the generator makes ``P``, shape (rows,)."""
        wide = self.tensors | {"W2": self.tensors["W2"].float()}
        P = torch.where(self.owned, P.to(self.owned.device), generator.generate(wide, self.relu))
        generator.keep(wide, P, self.relu)

    def _wake(self) -> None:
        """Gives W2 the columns of units that are on for the first time, with moments of 0."""
        if "awake" not in self.tensors:
            return
        on = generator.hidden_units(self.tensors) > 0
        on[self.tensors["awake"]] = False
        woken = on.nonzero().flatten()
        if len(woken) == 0:
            return
        assert self.columns is not None
        W2 = self.trained["W2"]
        new = self.columns(woken.cpu()).to(W2.device) * self.decay
        W2.data = torch.cat([W2.data, new], dim=1)
        for key, value in self.inner.state[W2].items():
            if value.dim() == 2:
                self.inner.state[W2][key] = torch.cat([value, torch.zeros_like(new)], dim=1)
        self.tensors["awake"] = torch.cat([self.tensors["awake"], woken])

    def _widen(self) -> None:
        if self.bf16:
            self.tensors["W2"].data = self.tensors["W2"].data.float()

    def _shrink(self) -> None:
        if self.bf16:
            W2, seed = self.tensors["W2"], zlib.crc32(f"{self.name} {self.steps}".encode())
            W2.data = stochastic_bfloat16(W2.data, seed) if W2.dtype == torch.float32 else W2.data

    def state(self) -> State:
        return {
            "rows": compact(self.share.rows),
            "steps": self.steps,
            "decay": self.decay,
            "generator": {n: t.detach() for n, t in self.tensors.items()},
            "inner": {n: dict(self.inner.state[t]) for n, t in self.trained.items() if t in self.inner.state},
        }

    def load_inner(self, state: State) -> None:
        """Takes over the moments of a `state` that was cut to this process's rows."""
        rows, units = len(self.owned), self.tensors.get("awake", torch.arange(len(self.tensors["c1"])))
        for name, tensor in self.tensors.items():
            shape = (rows, len(units)) if name == "W2" else (rows,) if name in BY_ROW else tuple(tensor.shape)
            if tuple(tensor.shape) != shape or not tensor.isfinite().all():
                fault = f"{name} has shape {tuple(tensor.shape)}, expected {shape}, or is not finite"
                raise damaged(self.name, fault)
        numbers = [type(state.get(key)) in (int, float) for key in ("steps", "decay")]
        if len(set(units.tolist()) & set(range(len(self.tensors["c1"])))) != len(units) or not all(numbers):
            raise damaged(self.name, "its units or steps are not those of a generator")
        self.steps, self.decay = state["steps"], state["decay"]
        for name, tensor in self.trained.items():
            if not (saved := state["inner"].get(name, {})):  # saved before the first step
                continue
            if fault := moments_fault(self.inner, saved, tensor):
                raise damaged(self.name, f"{name}: {fault}")
            self.inner.state[tensor] = {
                key: self._moment(tensor, value) if isinstance(value, Tensor) else value for key, value in saved.items()
            }

    def _moment(self, tensor: Tensor, value: Tensor) -> Tensor:
        """A saved moment of ``tensor``, in the kind of memory that the inner optimizer would have allocated."""
        if value.shape == tensor.shape and hasattr(self.inner, "get_state_buffer"):
            # bitsandbytes pages the moments of tensors with 1e5 elements or more
            buffer: Tensor = self.inner.get_state_buffer(tensor, dtype=value.dtype)
            return buffer.copy_(value)
        return value.to(self.owned.device, copy=True)


class PlainGroup:
    """Tensors that the optimizer steps as they are: a plain adapter, or weights that are trained in full."""

    def __init__(self, name: str, params: Sequence[Tensor], share: Share, inner: Inner) -> None:
        self.name, self.params, self.share, self.inner = name, list(params), share, inner(list(params))

    def squared_norm(self) -> Tensor:
        """‖∇‖² over all numbers of all owners."""
        grads = [local(p.grad).float().square().sum() for p in self.params if p.grad is not None]
        return self.share.sum(torch.stack(grads).sum())

    def step(self, settings: Mapping[str, Any]) -> None:
        """One inner step from the tensors' own gradients; those without one stay as they are."""
        self.inner.param_groups[0].update(settings)
        self.inner.step()

    def state(self) -> State:
        held = [self.inner.state.get(p, {}) for p in self.params]
        moments = {
            key: torch.cat(
                [
                    (local(state[key]) if key in state else torch.zeros_like(local(p))).flatten()
                    for p, state in zip(self.params, held, strict=True)
                ]
            )
            for key in sorted({key for state in held for key in state} - {"step"})
        }
        steps = [int(state.get("step", 0)) for state in held]
        values = torch.cat([local(p).detach().flatten() for p in self.params])
        return {"rows": compact(self.share.rows), "steps": max(steps), "values": values, "inner": moments}

    def load(self, state: State) -> None:
        """Takes over values and moments of a `state` that was cut to this process's rows."""
        sizes = [local(p).numel() for p in self.params]
        step = {"step": state.get("steps")} if "exp_avg" in state["inner"] else {}
        saved = state["inner"] | step
        fault = moments_fault(self.inner, saved, torch.zeros(sum(sizes))) if saved else ""  # none before the first step
        if fault or state["values"].shape != (sum(sizes),) or not state["values"].isfinite().all():
            raise damaged(self.name, fault or "its values are of another shape, or not finite")
        for i, param in enumerate(self.params):
            mine = local(param)
            mine.copy_(state["values"].split(sizes)[i].view_as(mine))
            moments: dict[str, Any] = {}
            for key, value in state["inner"].items():
                moments[key] = torch.zeros_like(param)
                local(moments[key]).copy_(value.split(sizes)[i].view_as(mine))
            if "exp_avg" in moments:  # AdamW, which counts its steps on the tensor's device
                moments["step"] = torch.tensor(float(state["steps"]), device=mine.device)
            self.inner.state[param] = moments


def damaged(name: str, fault: str) -> MendableError:
    """A saved state that cannot be taken over."""
    fix = "remove the checkpoint's folder: the same command then resumes from the one before it"
    return MendableError(f"the checkpoint's state of this layer is damaged: {fault}", name, fix)


def cut(state: State, rows: Tensor, name: str) -> State:
    """``state`` for another share of the rows: from one process's, or from `joined` ones.

    Raises `MendableError` where rows are missing, or moments are packed in blocks that cannot be cut.
    """
    saved = state["rows"].long()
    if torch.equal(saved, rows):
        return state
    place = torch.full((int(torch.cat([saved, rows]).max()) + 1,), -1)  # FSDP2 may leave a process without any row
    place[saved[saved >= 0]] = torch.arange(len(saved))[saved >= 0]
    index = torch.where(rows >= 0, place[rows.clamp(min=0)], -1)
    if (index[rows >= 0] < 0).any():
        raise MendableError(
            f"this process owns {int((rows >= 0).sum())} rows, and the checkpoint at hand, with "
            f"{int((saved >= 0).sum())}, lacks some of them",
            name,
            "resume with the same number of processes, or from a checkpoint folder with all processes' files",
        )
    padding = rows < 0

    def pick(tensor: Tensor) -> Tensor:
        if tensor.dtype == torch.uint8:
            raise MendableError(
                "8-bit moments are packed in blocks of rows, which cannot be cut anew",
                name,
                "resume with the same number of processes and ZeRO stage",
            )
        return tensor[index.clamp(min=0)].masked_fill_(padding.view(-1, *[1] * (tensor.dim() - 1)), 0)

    return _by_row(state, pick) | {"rows": compact(rows)}


def compact(rows: Tensor) -> Tensor:
    """Rows in int32 unless one of them is too large: a plain group's P may have more than 2³¹ elements."""
    return rows if rows.numel() and int(rows.max()) > torch.iinfo(torch.int32).max else rows.int()


def joined(states: Sequence[State]) -> State:
    """One state with the rows of all processes."""
    if len(states) == 1:
        return states[0]

    def gathered(*tensors: Tensor) -> Tensor:
        if any(tensor.dtype == torch.uint8 for tensor in tensors):  # not all: small shards have float32 moments
            raise MendableError(
                "8-bit moments are packed in blocks of rows, which cannot be joined",
                fix="resume with the same number of processes and ZeRO stage",
            )
        return torch.cat(tensors)

    return _by_row(states[0], gathered, *states[1:]) | {"rows": torch.cat([state["rows"] for state in states])}


def _by_row(state: State, change: Any, *others: State) -> State:
    """``change`` applied to each tensor that has one row for each number of P, and to those of ``others`` beside it."""
    rows, changed = len(state["rows"]), dict(state)

    def visit(parts: Sequence[Any], by_row: bool) -> Any:
        first = parts[0]
        if isinstance(first, dict):
            return {k: visit([part[k] for part in parts], by_row or k in (*BY_ROW, "values")) for k in first}
        per_row = by_row and isinstance(first, Tensor) and first.dim() and len(first) == rows
        return change(*parts) if per_row else first

    plain = "values" in state
    for key in ("generator", "inner", "values"):
        if key in state:
            changed[key] = visit([state[key], *(other[key] for other in others)], plain)
    return changed
