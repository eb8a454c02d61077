"""OP-LoRA as an optimizer: the model keeps plain LoRA tensors, the generator behind them lives here.

At each step the gradient g = ∂L/∂P that A and B already have is carried through the MLP by hand, an inner AdamW steps
the MLP, and P = W2·relu(W1·z + c1) + b2 is written back into A and B.  This equals autograd through the MLP (arXiv
2412.10362) while forward, backward, activations and gradient traffic stay those of plain LoRA.

    model = get_peft_model(base, LoraConfig(...))
    optimizer = GeneratedAdapterOptimizer(adapter_groups(model), lr=2e-4)

Memory: hidden x the adapter for W2, and twice that again for AdamW's moments; under ZeRO 1-3 each process holds its
own rows only.  Time: one pass over W2 and its moments a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from mlplora_vlm.errors import MendableError
from mlplora_vlm.generator import Generator, generate, generator_gradients, hidden_gradient, new_generator
from mlplora_vlm.sharding import full_shape, owned_rows, rank_and_world, sum_over_processes, whole


def adapter_groups(model: nn.Module, adapter: str = "default") -> list[dict[str, Any]]:
    """One optimizer group for each LoRA layer of a PEFT model: ``{"name": path, "params": [A, B]}``.

    One group a layer makes ZeRO hand over exactly that layer's slice of [A; B].
    Raises `MendableError` where the model has no LoRA layer, or trains anything else beside them.
    """
    layers = {name: m for name, m in model.named_modules() if adapter in getattr(m, "lora_A", {})}
    groups = [
        {"name": name, "params": [m.lora_A[adapter].weight, m.lora_B[adapter].weight]} for name, m in layers.items()
    ]
    if not groups:
        raise MendableError(
            f"the model has no LoRA layer of adapter {adapter!r}", fix="attach a PEFT LoRA adapter first"
        )
    grouped = {id(p) for group in groups for p in group["params"]}
    others = [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in grouped]
    if others:
        raise MendableError(
            f"{len(others)} trained tensors are not LoRA's A or B, such as {others[0]!r}",
            fix="freeze them, or train the model with a plain optimizer",
        )
    return groups


class _LayerGenerator:
    """One layer's generator on this process: the rows it owns, its inner optimizer, its padding mask."""

    def __init__(self, tensors: Generator, owned: Tensor, inner: Callable[[Iterable[Tensor]], torch.optim.Optimizer]):
        self.tensors = {name: tensor.requires_grad_() for name, tensor in tensors.items()}
        self.owned = owned
        self.inner = inner(self.tensors.values())

    def step(self, grad: Tensor, stage: int, settings: dict[str, Any]) -> Tensor:
        """One inner step from ∂L/∂P of the local rows; returns the new local rows of P, both of shape (rows,)."""
        grad = grad * self.owned  # an engine promises nothing about the gradient of its padding
        dh = sum_over_processes(hidden_gradient(self.tensors, grad), stage)
        for name, gradient in generator_gradients(self.tensors, grad, dh).items():
            self.tensors[name].grad = gradient
        self.inner.param_groups[0].update(settings)
        self.inner.step()
        self.inner.zero_grad(set_to_none=True)
        return generate(self.tensors)

    def state_dict(self) -> dict[str, Any]:
        return {"generator": {n: t.detach() for n, t in self.tensors.items()}, "inner": self.inner.state_dict()}


class GeneratedAdapterOptimizer(torch.optim.Optimizer):
    """AdamW on the generators behind LoRA's A and B.

    ``params``: groups as `adapter_groups` makes them.  ``states``: "float32", or "8bit" for bitsandbytes' AdamW8bit.
    ``device``: "model", or "cpu" to keep the generator in host memory.  ``zero_stage``: DeepSpeed's, or 0.
    ``inner``: another optimizer class for the generator's tensors (the tests use SGD).
    Building it writes the generator's start into A and B.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        hidden: int = 32,
        z_dim: int = 128,
        z_std: float = 0.1,
        seed: int = 0,
        states: str = "float32",
        device: str = "model",
        zero_stage: int = 0,
        inner: type[torch.optim.Optimizer] | None = None,
    ) -> None:
        groups = [dict(group, shapes=[tuple(full_shape(p)) for p in group["params"]]) for group in params]
        self.form: dict[str, Any] = {"hidden": hidden, "z_dim": z_dim, "z_std": z_std, "seed": seed}
        self.states, self.device, self.zero_stage, self.inner_class = states, device, zero_stage, inner
        self.layers: dict[str, _LayerGenerator] = {}
        self._saved: dict[str, dict[str, Any]] = {}
        defaults: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay}
        if inner is None:
            defaults |= {"betas": betas, "eps": eps}
        self.inner_settings = tuple(defaults)
        super().__init__(groups, defaults)
        self._write_start()

    @torch.no_grad()
    def _write_start(self) -> None:
        for group in self.param_groups:
            with whole(group["params"]):
                start = generate(new_generator(group["name"], _numels(group), **self.form))
                _write(group["params"], start, [torch.Size(s) for s in group["shapes"]])

    def _inner(self, tensors: Iterable[Tensor]) -> torch.optim.Optimizer:
        if self.inner_class is not None:
            return self.inner_class(tensors, lr=0.0)  # type: ignore[call-arg]
        if self.states == "8bit":
            import bitsandbytes

            return bitsandbytes.optim.AdamW8bit(tensors)
        return torch.optim.AdamW(tensors, fused=True)

    def _layer(self, group: dict[str, Any], grad: Tensor) -> _LayerGenerator:
        """The group's generator, made when the engine first shows how many rows it gives this process."""
        name, device = group["name"], grad.device if self.device == "model" else torch.device(self.device)
        if name in self.layers:
            return self.layers[name]
        rank, world = rank_and_world()
        rows = owned_rows(_numels(group), grad.numel(), self.zero_stage, rank, world)
        owned, saved = rows >= 0, self._saved.pop(name, None)
        if saved is None:
            tensors = new_generator(name, _numels(group), **self.form)
            tensors["W2"] = tensors["W2"][rows.clamp(min=0)] * owned[:, None]
            tensors["b2"] = tensors["b2"][rows.clamp(min=0)] * owned
        else:
            tensors = saved["generator"]
            if len(tensors["b2"]) != len(rows):
                raise MendableError(
                    f"this process owns {len(rows)} rows of the generator, the checkpoint holds {len(tensors['b2'])}",
                    name,
                    "resume with the same ZeRO stage and number of processes",
                )
        tensors = {n: t.detach().to(device, torch.float32, copy=True) for n, t in tensors.items()}
        layer = _LayerGenerator(tensors, owned.to(device), self._inner)
        if saved is not None:
            layer.inner.load_state_dict(saved["inner"])
        self.layers[name] = layer
        return layer

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of every layer whose tensors have gradients; ZeRO calls it once a group, with that group alone."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = group["params"]
            if not params or any(p.grad is None for p in params):
                continue
            grad = torch.cat([p.grad.flatten().float() for p in params])
            layer = self._layer(group, grad)
            settings = {key: group[key] for key in self.inner_settings}
            P = layer.step(grad.to(layer.owned.device), self.zero_stage, settings)
            _write(params, P, [p.shape for p in params])
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The generators by layer name, and the groups' settings.

        Not torch's own form: that would cast every state to the parameter's precision when it is loaded.
        """
        groups = [
            {key: value for key, value in group.items() if key != "params"} | {"params": [index]}
            for index, group in enumerate(self.param_groups)
        ]
        layers = {name: layer.state_dict() for name, layer in self.layers.items()}
        return {"state": self._saved | layers, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over generators and settings; raises `MendableError` where the layers are not the same."""
        names = [group["name"] for group in self.param_groups]
        saved_names = [group["name"] for group in state_dict["param_groups"]]
        if names != saved_names:
            raise MendableError(
                f"the checkpoint's {len(saved_names)} generated layers are not this model's {len(names)}",
                fix=f"differing: {sorted(set(names) ^ set(saved_names))[:6] or 'their order'}",
            )
        for group, saved in zip(self.param_groups, state_dict["param_groups"], strict=True):
            group.update({key: value for key, value in saved.items() if key != "params"})
        self.layers, self._saved = {}, dict(state_dict["state"])


def _numels(group: dict[str, Any]) -> list[int]:
    return [torch.Size(shape).numel() for shape in group["shapes"]]


def _write(params: list[Tensor], P: Tensor, shapes: list[torch.Size]) -> None:
    for param, part, shape in zip(params, P.split([s.numel() for s in shapes]), shapes, strict=True):
        param.copy_(part.view(shape))
