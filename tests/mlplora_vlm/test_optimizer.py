"""The optimizer in a bare PyTorch loop: equal to autograd, saved and loaded exactly, clear about what it cannot do."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys

import pytest
import torch
from torch import nn

from mlplora_vlm.errors import MendableError
from mlplora_vlm.generator import AutogradGenerator, new_generator
from mlplora_vlm.optimizer import GeneratedAdapterOptimizer, adapter_groups

FORM = {"hidden": 6, "z_dim": 9}


class LoraLinear(nn.Module):
    """A LoRA layer as PEFT names its parts."""

    def __init__(self, inputs: int, outputs: int, rank: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / inputs**0.5, requires_grad=False)
        self.lora_A = nn.ModuleDict({"default": nn.Linear(inputs, rank, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(rank, outputs, bias=False)})

    def forward(self, x):
        return x @ self.weight.T + self.lora_B["default"](self.lora_A["default"](x))


def network(*widths: int) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(*(LoraLinear(i, o, 3) for i, o in itertools.pairwise(widths)))


def train(model, optimizer, steps, begin=0):
    for step in range(begin, begin + steps):
        x = torch.randn(8, 33, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    return torch.cat([p.detach().flatten().clone() for p in model.parameters() if p.requires_grad])


def test_bare_loop_equals_autograd_through_the_mlp():
    model = network(33, 47, 11)
    groups = adapter_groups(model)
    shapes = [[p.shape for p in group["params"]] for group in groups]
    starts = [
        new_generator(group["name"], [s.numel() for s in shape], 6, 9, 0.1, 0)
        for group, shape in zip(groups, shapes, strict=True)
    ]
    mlps = [AutogradGenerator(start, shape) for start, shape in zip(starts, shapes, strict=True)]
    oracle = torch.optim.AdamW([p for mlp in mlps for p in mlp.parameters()], lr=1e-2, eps=1e-6, weight_decay=0.1)
    got = train(model, GeneratedAdapterOptimizer(groups, lr=1e-2, eps=1e-6, weight_decay=0.1, **FORM), 6)

    def adapters():
        return torch.cat([p.flatten() for mlp in mlps for p in mlp()])

    begin = adapters().detach().clone()
    for step in range(6):
        x = torch.randn(8, 33, generator=torch.Generator().manual_seed(step))
        for layer, mlp in zip(model, mlps, strict=True):
            A, B = mlp()
            x = x @ layer.weight.T + x @ A.T @ B.T
        oracle.zero_grad()
        x.square().mean().backward()
        oracle.step()
    error = (got - adapters().detach()).norm() / (adapters().detach() - begin).norm()
    assert error <= 1e-5


@pytest.mark.parametrize("states", ["float32", "8bit"])
def test_saved_and_loaded_goes_on_exactly(states):
    widths = (33, 257, 65)  # large enough for bitsandbytes to keep 8-bit states
    whole = network(*widths)
    wanted = train(whole, GeneratedAdapterOptimizer(adapter_groups(whole), lr=1e-2, states=states, **FORM), 6)
    first = network(*widths)
    optimizer = GeneratedAdapterOptimizer(adapter_groups(first), lr=1e-2, states=states, **FORM)
    train(first, optimizer, 3)
    file = io.BytesIO()
    torch.save({"model": first.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    second = network(*widths)
    resumed = GeneratedAdapterOptimizer(adapter_groups(second), lr=9.9, states=states, **FORM)
    second.load_state_dict(saved["model"])
    resumed.load_state_dict(saved["optimizer"])
    assert torch.equal(train(second, resumed, 3, begin=3), wanted)


def test_eight_bit_states_are_eight_bit_and_stay_near_float32():
    updates = {}
    for states in ("float32", "8bit"):
        model = network(33, 257, 65)
        optimizer = GeneratedAdapterOptimizer(adapter_groups(model), lr=1e-3, states=states, **FORM)
        begin = torch.cat([p.detach().flatten().clone() for g in optimizer.param_groups for p in g["params"]])
        updates[states] = train(model, optimizer, 10) - begin
        kinds = {t.dtype for layer in optimizer.layers.values() for s in layer.inner.state.values()
                 for t in s.values() if isinstance(t, torch.Tensor)}  # fmt: skip
        assert (torch.uint8 in kinds) == (states == "8bit")
    difference = (updates["8bit"] - updates["float32"]).norm() / updates["float32"].norm()
    assert 0 < difference < 0.1


def test_zero_learning_rate_changes_nothing_and_the_schedule_reaches_the_generator():
    model = network(33, 11)
    optimizer = GeneratedAdapterOptimizer(adapter_groups(model), lr=0.0, **FORM)
    begin = torch.cat([p.detach().flatten().clone() for p in optimizer.param_groups[0]["params"]])
    # P is generated anew in another order of sums than at the start
    torch.testing.assert_close(train(model, optimizer, 2), begin, rtol=0, atol=1e-7)
    optimizer.param_groups[0]["lr"] = 1e-2
    assert (train(model, optimizer, 1) - begin).abs().max() > 1e-3


def test_a_layer_without_gradient_stays_as_it_is():
    model = network(33, 11, 5)
    optimizer = GeneratedAdapterOptimizer(adapter_groups(model), lr=1e-2, **FORM)
    before = [p.detach().clone() for p in optimizer.param_groups[1]["params"]]
    model[0](torch.ones(2, 33)).sum().backward()
    optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(optimizer.param_groups[1]["params"], before, strict=True))


def test_mistakes_are_named():
    with pytest.raises(MendableError, match="no LoRA layer"):
        adapter_groups(nn.Linear(3, 3))
    model = network(33, 11)
    model.register_parameter("stray", nn.Parameter(torch.zeros(3)))
    with pytest.raises(MendableError, match="'stray'"):
        adapter_groups(model)
    one = GeneratedAdapterOptimizer(adapter_groups(network(33, 11)), **FORM)
    other = GeneratedAdapterOptimizer(adapter_groups(network(33, 11, 5)), **FORM)
    with pytest.raises(MendableError, match="not this model's 2"):
        other.load_state_dict(one.state_dict())


def test_the_optimizer_alone_needs_torch_and_nothing_more():
    code = (
        "import sys\n"
        "blocked = ('transformers', 'peft', 'deepspeed', 'accelerate', 'datasets', 'safetensors', 'bitsandbytes')\n"
        "class Block:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.split('.')[0] in blocked: raise ImportError(name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "from mlplora_vlm import GeneratedAdapterOptimizer\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
