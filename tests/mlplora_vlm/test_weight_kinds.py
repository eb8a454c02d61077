"""What a model's weights take, by kind: the same whether ZeRO-3 holds them in shards or not."""

from __future__ import annotations

import torch

from data_prep.demo.tiny import tiny_family
from data_prep.demo.tiny.build import build_model, build_processor
from mlplora_vlm.weight_kinds import weight_kinds


def test_a_weight_in_shards_keeps_its_kind():
    """ZeRO-3 leaves an empty vector in a matrix's place, with its true shape beside it."""
    row = tiny_family("llava")
    model = build_model(row, build_processor(row))
    wanted = weight_kinds(model)
    assert any("language" in kind for kind, _ in wanted)
    for parameter in model.parameters():
        parameter.ds_shape, parameter.ds_numel = parameter.shape, parameter.numel()
        parameter.data = torch.empty(0)
    assert weight_kinds(model) == wanted
