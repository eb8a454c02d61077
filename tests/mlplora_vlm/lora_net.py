"""Small networks of layers that name their parts as PEFT does, for tests of the optimizer without PEFT."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from mlplora_vlm.generator import AutogradGenerator, new_generator

FORM = {"hidden": 6, "z_dim": 9}


class LoraLinear(nn.Module):
    """A LoRA layer."""

    adapter_layer_names = ("lora_A", "lora_B")

    def __init__(self, inputs: int, outputs: int, rank: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / inputs**0.5, requires_grad=False)
        self.lora_A = nn.ModuleDict({"default": nn.Linear(inputs, rank, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(rank, outputs, bias=False)})
        nn.init.zeros_(self.lora_B["default"].weight)

    def forward(self, x):
        return x @ self.weight.T + self.lora_B["default"](self.lora_A["default"](x))


def network(*widths: int) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*(LoraLinear(i, o, 3) for i, o in itertools.pairwise(widths)))


def batch(step: int) -> torch.Tensor:
    return torch.randn(8, 33, generator=torch.Generator().manual_seed(step))


def train(model, optimizer, steps, begin=0):
    """Steps on 33 inputs; returns what is trained, in one vector."""
    for step in range(begin, begin + steps):
        optimizer.zero_grad()
        model(batch(step)).square().mean().backward()
        optimizer.step()
    return trained(model)


def trained(model) -> torch.Tensor:
    return torch.cat([p.detach().flatten().clone() for p in model.parameters() if p.requires_grad])


class OracleNet:
    """The same network with the MLPs in the graph."""

    def __init__(self, model, groups, seed=0, hidden=6) -> None:
        self.model = model
        shapes = [[p.shape for p in group["params"]] for group in groups]
        self.mlps = [
            AutogradGenerator(
                new_generator(g["name"], [s.numel() for s in shape], g["heads"], hidden, 9, 0.1, seed), shape
            )
            for g, shape in zip(groups, shapes, strict=True)
        ]
        self.parameters = [p for mlp in self.mlps for p in mlp.parameters()]

    def __call__(self, x):
        for layer, mlp in zip(self.model, self.mlps, strict=True):
            A, B = mlp()
            x = x @ layer.weight.T + x @ A.T @ B.T
        return x

    def trained(self) -> torch.Tensor:
        return torch.cat([p.detach().flatten() for mlp in self.mlps for p in mlp()])
