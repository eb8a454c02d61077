"""OP-LoRA as an optimizer: the model keeps plain PEFT tensors, the generator behind them lives here.

At each step the gradient g = ∂L/∂P that a layer's tensors already have is carried through the MLP by hand, an inner
optimizer steps the MLP, and P = W2·relu(W1·z + c1) + b2 is written back.  This equals autograd through the MLP (arXiv
2412.10362) while forward, backward, activations and gradient traffic stay those of the plain PEFT method.

    model = get_peft_model(base, LoraConfig(...))
    optimizer = GeneratedAdapterOptimizer(adapter_groups(model), lr=2e-4)

What happens where gradients are unusual.  A layer whose tensors all lack one (``grad is None``) is left as it is; where
only some lack it, they count as 0, as autograd would have it.  A gradient that is there and 0 is a step like any other
(moments decay, weight decay acts).  A's gradient is 0 as long as B is 0.  A gradient that is not finite raises
`MendableError`.  Tensors that someone else writes are overwritten at the next step: call `adopt` after that.

Memory: half of hidden x the adapter for W2, and twice that again for AdamW's moments.  The other half of the hidden
units is off at the start, and few of them ever wake up (benchmarks/rotated_digits.py counts them): W2 gets columns for
those when they do, which changes nothing in the result.  Under ZeRO 1-3 and FSDP2 each process holds its own rows only.
Time: one pass over W2 and its moments a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping
from typing import Any

import torch
from torch import Tensor, nn

from mlplora_vlm.errors import MendableError
from mlplora_vlm.generator import BY_ROW, TRAINED, Generator, generate, hidden_units, new_generator
from mlplora_vlm.inner import SETTINGS, inner_optimizer
from mlplora_vlm.kinds import HEADS
from mlplora_vlm.layers import GeneratedLayer, PlainGroup, State, cut, damaged
from mlplora_vlm.sharding import fill, full_shape, local, share_of, whole


def adapter_groups(
    model: nn.Module,
    adapter: str = "default",
    *,
    generated: bool = True,
    b_lr_ratio: float = 1.0,
    full_lr: float | None = None,
) -> list[dict[str, Any]]:
    """The optimizer's groups for any PEFT model: one for each adapted layer, and one for all else that is trained.

    A layer's group holds its trained tensors in PEFT's order, and how the generator's head for each of them starts; one
    group a layer makes ZeRO hand over exactly that layer's slice.  Without ``generated`` the adapter is one group that
    is stepped as it is.  ``b_lr_ratio``: learning rate of B over that of A (LoRA+, arXiv 2402.12354).  ``full_lr``:
    the learning rate of what is trained beside the adapter (None: the optimizer's).
    Raises `MendableError` where the model has no such adapter, or two layers share a tensor.
    """
    layers = {name: found for name, m in model.named_modules() if (found := _adapter_tensors(m, adapter))}
    if not layers:
        raise MendableError(
            f"the model has no trained layer of adapter {adapter!r}", fix="attach a PEFT adapter that is trained"
        )
    owner: dict[int, str] = {}
    for name, tensors in layers.items():
        for part, tensor in tensors:
            if owner.setdefault(id(tensor), name) != name:
                raise MendableError(
                    f"{part} is shared with {owner[id(tensor)]}: two generators cannot make the same tensor",
                    name,
                    "leave one of the two out of the adapter, or train it plainly (generated=False)",
                )
    ratios = {part: b_lr_ratio if part in ("lora_B", "lora_embedding_B") else 1.0 for part in HEADS}
    if generated:
        groups = [
            {
                "name": name,
                "params": [tensor for _, tensor in tensors],
                "heads": tuple(HEADS.get(part, "offset") for part, _ in tensors),
                "scales": tuple(ratios.get(part, 1.0) for part, _ in tensors),
            }
            for name, tensors in layers.items()
        ]
    else:
        groups = [
            {"name": f"adapter x{ratio:g}", "params": params, "heads": None, "lr_ratio": ratio}
            for ratio in dict.fromkeys([1.0, b_lr_ratio])
            if (params := [t for ts in layers.values() for part, t in ts if ratios.get(part, 1.0) == ratio])
        ]
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in owner]
    if others:
        groups.append({"name": "in full", "params": others, "heads": None})
        if full_lr is not None:
            groups[-1]["lr"] = full_lr
    return groups


def _adapter_tensors(module: nn.Module, adapter: str) -> list[tuple[str, nn.Parameter]]:
    """(PEFT's name of the part, tensor) of a layer's own trained adapter tensors."""
    found: list[tuple[str, nn.Parameter]] = []
    for part in dict.fromkeys(getattr(module, "adapter_layer_names", ())):  # DoRA adds its own a second time
        if part == "modules_to_save":  # PEFT's wrapper of a module that is trained as it is
            continue
        held = getattr(module, part, {})
        if adapter not in held:
            continue
        item = held[adapter]
        tensors = [item] if isinstance(item, nn.Parameter) else list(item.parameters())
        found += [(part, tensor) for tensor in tensors if tensor.requires_grad]
    return found


class GeneratedAdapterOptimizer(torch.optim.Optimizer):
    """Steps the generators behind an adapter's tensors.

    ``params``: groups as `adapter_groups` makes them (``heads``: None for tensors that are stepped as they are).
    ``form``: "exact", or "linear" for a generator without ReLU.  ``start``: "paper" draws the start of an adapter that
    is still the identity and keeps one that already holds something; "keep" keeps every start.  ``optimizer``, with
    ``momentum`` for sgd, and ``states``: see `mlplora_vlm.inner`; plain groups always have float32 states.
    ``weights``: "bfloat16" keeps W2 in it, rounded stochastically.  ``device``: "model", or "cpu" to keep generators in
    host memory.  ``clip``: the generators' own gradients are scaled down to this norm (0: never); it needs all layers
    in one call, which ZeRO 1-3 do not give.  ``zero_stage``: DeepSpeed's, or 0.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float = 2e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        form: str = "exact",
        hidden: int = 32,
        z_dim: int = 128,
        z_std: float = 0.1,
        start: str = "paper",
        seed: int = 0,
        optimizer: str = "adamw",
        momentum: float = 0.0,
        states: str = "float32",
        weights: str = "float32",
        device: str = "model",
        clip: float = 0.0,
        zero_stage: int = 0,
    ) -> None:
        for name, value, known in (
            ("form", form, ("exact", "linear")),
            ("start", start, ("paper", "keep")),
            ("weights", weights, ("float32", "bfloat16")),
        ):
            if value not in known:
                raise MendableError(f"{name} is {value!r}", fix=f"use one of {', '.join(known)}")
        if clip and zero_stage:
            raise MendableError(
                f"ZeRO stage {zero_stage} steps one layer after the other: the norm over all generators is not known",
                fix="clip the adapter's gradients with the engine's own setting, or use stage 0",
            )
        self.generator: dict[str, Any] = {"hidden": hidden, "z_dim": z_dim, "z_std": z_std, "seed": seed}
        self.relu, self.bf16, self.device = form == "exact", weights == "bfloat16", device
        self.clip, self.zero_stage = clip, zero_stage
        # what is exact for AdamW: SGD moves a column that is off by its weight decay, and 8-bit moments come in blocks
        self.sleeping = self.relu and optimizer == "adamw" and states == "float32"
        self._inner, self._plain_inner = inner_optimizer(optimizer, states), inner_optimizer(optimizer, "float32")
        self.layers: dict[str, GeneratedLayer | PlainGroup] = {}
        self._saved: MutableMapping[str, State] = {}
        groups = [dict(group, shapes=[tuple(full_shape(p)) for p in group["params"]]) for group in params]
        given = {"lr": lr, "weight_decay": weight_decay, "betas": betas, "eps": eps, "momentum": momentum}
        self.settings = SETTINGS[optimizer]
        super().__init__(groups, {key: given[key] for key in self.settings})
        for group in self.param_groups:
            if group["heads"] is not None:
                self._begin(group, start)

    @torch.no_grad()
    def _begin(self, group: dict[str, Any], start: str) -> None:
        """Decides whether the group's tensors are kept, and writes the paper's start where they are not."""
        with whole(group["params"]):
            held = [p for p, head in zip(group["params"], group["heads"], strict=True) if head == "zero"]
            tensors = self._new(group)
            # with every unit off A and B would both be 0, and neither ever get a gradient (6 % of layers at hidden 4)
            asleep = not hidden_units(tensors, self.relu).any()
            group["keep"] = start == "keep" or asleep or any(_any(p) for p in held)
            if group["keep"]:
                return
            P = generate(tensors, self.relu).split(_numels(group))
            for param, part, head in zip(group["params"], P, group["heads"], strict=True):
                if head != "offset":
                    fill(param, part)

    def _new(self, group: dict[str, Any]) -> dict[str, Tensor]:
        numels = _numels(group)
        tensors = new_generator(group["name"], numels, group["heads"], **self.generator)
        scales = group.get("scales", [1.0])
        if any(scale != 1 for scale in scales):
            tensors["scale"] = torch.cat([torch.full((n,), s) for n, s in zip(numels, scales, strict=True)])
            tensors["W2"] /= tensors["scale"][:, None]
        return tensors

    def _layer(self, group: dict[str, Any]) -> GeneratedLayer | PlainGroup:
        """What the group holds here, made when the engine first shows which rows it gives this process."""
        name, params = group["name"], group["params"]
        if name in self.layers:
            return self.layers[name]
        share, saved = share_of(params, _numels(group), self.zero_stage), self._saved.pop(name, None)
        if saved is not None:
            if group["heads"] is not None:
                self._check_saved(group, saved["generator"])
            saved = cut(saved, share.rows, name)
        if group["heads"] is None:
            plain = PlainGroup(name, params, share, self._plain_inner)
            if saved is not None:
                plain.load(saved)
            self.layers[name] = plain
            return plain
        tensors = saved["generator"] if saved else self._start(group, share.rows)
        device = params[0].device if self.device == "model" else torch.device(self.device)
        tensors = {
            n: t.detach().to(device, torch.int64 if n == "awake" else torch.float32, copy=True)
            for n, t in tensors.items()
        }
        columns = lambda units: _own(self._new(group)["W2"][:, units], share.rows)  # noqa: E731
        layer = GeneratedLayer(name, tensors, share, self._inner, self.relu, self.bf16, columns)
        if saved is not None:
            layer.load_inner(saved)
        elif group["keep"]:
            layer.keep(_flat(params))
        self.layers[name] = layer
        return layer

    def _check_saved(self, group: dict[str, Any], saved: Generator) -> None:
        """Raise `MendableError` unless a layer's saved generator has the parts and sizes of this optimizer's."""
        name, optional = group["name"], {"awake"}
        parts = {"scale"} if any(scale != 1 for scale in group.get("scales", ())) else set[str]()
        parts |= {"anchor"} if "offset" in group["heads"] else set()
        hidden, z_dim = self.generator["hidden"], self.generator["z_dim"]
        wanted = {"z": [z_dim], "W1": [hidden, z_dim], "c1": [hidden]}
        found = {part: list(saved[part].shape) for part in wanted if part in saved}
        if missing := [part for part in TRAINED if part not in saved]:
            raise MendableError(f"the checkpoint lacks {', '.join(missing)} of this layer's generator", name)
        if odd := (saved.keys() - set(TRAINED) - optional) ^ parts:
            raise damaged(name, f"it lacks, or has beside the generator's own, {', '.join(sorted(odd))}")
        for part, tensor in saved.items():
            kinds = {"awake": (torch.int64,), "W2": (torch.float32, torch.bfloat16)}.get(part, (torch.float32,))
            if tensor.dtype not in kinds:
                raise damaged(name, f"{part} has type {tensor.dtype}, expected {kinds[0]}")
        if found != wanted:
            raise MendableError(
                f"the checkpoint's generator has the shapes {found}, this optimizer's has {wanted}",
                name,
                "use the hidden and z_dim that it was trained with",
            )

    def _start(self, group: dict[str, Any], rows: Tensor) -> dict[str, Tensor]:
        """The rows of a new generator that this process owns; the tensors still hold their start."""
        tensors, numels = self._new(group), _numels(group)
        # drawn rows with a learning rate of their own (the B of an embedding) have a decay of their own too
        drawn = any(h == "drawn" and s != 1 for h, s in zip(group["heads"], group.get("scales", []), strict=False))
        if self.sleeping and not drawn:
            tensors["awake"] = (hidden_units(tensors) > 0).nonzero().flatten()
            tensors["W2"] = tensors["W2"][:, tensors["awake"]]
        if "offset" in group["heads"]:
            frozen = [torch.full((n,), head == "offset") for n, head in zip(numels, group["heads"], strict=True)]
            tensors["anchor"] = torch.cat(frozen).float()
        tensors = {name: _own(t, rows) if name in BY_ROW else t for name, t in tensors.items()}
        if "anchor" in tensors:
            tensors["anchor"] *= _flat(group["params"]).to("cpu")
        return tensors

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of every group whose tensors have gradients; ZeRO calls it once a group, with that group alone."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups = [group for group in self.param_groups if any(p.grad is not None for p in group["params"])]
        clipped = self._clipped(groups) if self.clip else {}
        for group in groups:
            layer, params = self._layer(group), group["params"]
            settings = {key: group[key] for key in self.settings}
            settings["lr"] = settings["lr"] * group.get("lr_ratio", 1.0)
            if isinstance(layer, PlainGroup):
                layer.step(settings)
            else:
                grad, dh = clipped.get(layer.name) or layer.gradient(_flat_gradients(params))[:2]
                _write(params, layer.step(grad, dh, settings))
        return loss

    def _clipped(self, groups: list[dict[str, Any]]) -> dict[str, tuple[Tensor, Tensor]]:
        """The layers' gradients, scaled as ``clip_grad_norm_`` over all the generators' own gradients would.

        Those of plain groups count and are scaled too, in place.
        """
        found, squares = {}, []
        for group in groups:
            layer = self._layer(group)
            if isinstance(layer, PlainGroup):
                squares.append(layer.squared_norm())
            else:
                found[layer.name] = layer.gradient(_flat_gradients(group["params"]))
                squares.append(layer.squared_norm(*found[layer.name][1:]))
        norm = torch.stack([square.to(squares[0].device) for square in squares]).sum().sqrt()
        factor = (self.clip / (norm + 1e-6)).clamp(max=1.0)
        for group in groups:
            if group["heads"] is None:
                for p in group["params"]:
                    if p.grad is not None:
                        local(p.grad).mul_(factor.to(p.device))
        return {n: (g * factor.to(g.device), dh * factor.to(g.device)) for n, (g, dh, _) in found.items()}

    @torch.no_grad()
    def adopt(self) -> None:
        """Takes over what the model's tensors hold now, after someone wrote them: b2 moves, all else stays."""
        for group in self.param_groups:
            if group["heads"] is None or not group["params"]:
                continue
            layer = self._layer(group)
            assert isinstance(layer, GeneratedLayer)
            layer.keep(_flat(group["params"]))

    def state_dict(self) -> dict[str, Any]:
        """What this process holds, by layer name, and the groups' settings.

        Not torch's own form: that would cast every state to the parameter's precision when it is loaded.
        """
        groups = [
            {key: value for key, value in group.items() if key != "params"} | {"params": [index]}
            for index, group in enumerate(self.param_groups)
        ]
        return {"state": dict(self._saved) | {n: layer.state() for n, layer in self.layers.items()},
                "param_groups": groups}  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over states and settings; the model's tensors must be those that were saved with them.

        The states may come from another share of the rows (see `mlplora_vlm.layers.joined`).  Raises `MendableError`
        where the layers are not the same.
        """
        groups = state_dict.get("param_groups")
        if "state" not in state_dict or not isinstance(groups, list) or any("name" not in group for group in groups):
            raise MendableError(
                "the state is not that of generators: it has no groups with names, one for each layer",
                fix="load what state_dict() of a GeneratedAdapterOptimizer returned",
            )
        names, saved_names = [group["name"] for group in self.param_groups], [group["name"] for group in groups]
        if names != saved_names:
            raise MendableError(
                f"the checkpoint's {len(saved_names)} layers are not this model's {len(names)}",
                fix=f"differing: {sorted(set(names) ^ set(saved_names))[:6] or 'their order'}",
            )
        for group, saved in zip(self.param_groups, groups, strict=True):
            shapes, own = ([[*shape] for shape in one.get("shapes") or ()] for one in (saved, group))
            if shapes != own:
                raise MendableError(
                    f"the checkpoint's tensors of this layer have the shapes {shapes}, the model's have {own}",
                    group["name"],
                    "attach the adapter with the rank that it was trained with, or train from the start",
                )
        for group, saved in zip(self.param_groups, groups, strict=True):
            group.update({key: value for key, value in saved.items() if key not in ("params", "shapes")})
        saved_states = state_dict["state"]
        self.layers, self._saved = {}, dict(saved_states) if isinstance(saved_states, dict) else saved_states


def _numels(group: dict[str, Any]) -> list[int]:
    return [torch.Size(shape).numel() for shape in group["shapes"]]


def _own(tensor: Tensor, rows: Tensor) -> Tensor:
    """This process's rows of a tensor with one for each number of P; 0 for the engine's padding."""
    return tensor[rows.clamp(min=0)] * (rows >= 0).view(-1, *[1] * (tensor.dim() - 1))


def _any(param: Tensor) -> bool:
    whole_tensor = param.full_tensor() if hasattr(param, "full_tensor") else param
    return bool(whole_tensor.any())


def _flat(params: list[Tensor]) -> Tensor:
    return torch.cat([local(p).detach().flatten().float() for p in params])


def _flat_gradients(params: list[Tensor]) -> Tensor:
    """∂L/∂P of the local rows; a tensor without gradient counts as 0."""
    return torch.cat(
        [
            local(p.grad).flatten().float() if p.grad is not None else torch.zeros_like(local(p)).flatten().float()
            for p in params
        ]
    )


def _write(params: list[Tensor], P: Tensor) -> None:
    mine = [local(p) for p in params]
    for param, part in zip(mine, P.split([m.numel() for m in mine]), strict=True):
        param.copy_(part.view_as(param))
