"""After every kind of adapter the base model is bit for bit what it was."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mlplora_vlm.attach import AdapterSection
from mlplora_vlm.detach import attached
from mlplora_vlm.kinds import KINDS

SMALL = AdapterSection(rank=4, alpha=8)
WAYS = {
    **{kind: dataclasses.replace(SMALL, kind=kind) for kind in KINDS},
    "full": dataclasses.replace(SMALL, on=("language",), full=("projector",)),
    "vision": dataclasses.replace(SMALL, on=("language", "vision")),
}


@pytest.fixture(scope="module")
def model():
    from tiny_llava import build_model, build_processor

    return build_model(build_processor())


def state(model):
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("way", WAYS)
def test_base_is_unchanged(model, way):
    before, modules = state(model), [(name, type(module)) for name, module in model.named_modules()]
    with pytest.raises(RuntimeError, match="stop"), attached(model, WAYS[way]) as tuned:
        with torch.no_grad():
            for parameter in tuned.parameters():
                if parameter.requires_grad:
                    parameter.add_(1.0)
        raise RuntimeError("stop")
    after = state(model)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert [(name, type(module)) for name, module in model.named_modules()] == modules


def test_second_adapter_starts_like_the_first(model):
    starts = []
    for _ in range(2):
        torch.manual_seed(0)
        with attached(model, SMALL) as tuned:
            starts.append({n: p.detach().clone() for n, p in tuned.named_parameters() if p.requires_grad})
    assert starts[0].keys() == starts[1].keys() and all(torch.equal(t, starts[1][n]) for n, t in starts[0].items())
