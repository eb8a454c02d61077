"""Where a library behaves otherwise from some size on, both sides of that size: no tiny model is on the far side."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from mlplora_vlm import states
from mlplora_vlm.attach import GeneratorSection
from mlplora_vlm.errors import MendableError
from mlplora_vlm.inner import stochastic_bfloat16
from mlplora_vlm.layers import GeneratedLayer, PlainGroup, cut, joined
from mlplora_vlm.load import ModelSection
from mlplora_vlm.optimizer import GeneratedAdapterOptimizer
from mlplora_vlm.optimizer_bytes import LayerSize, generator_bytes
from mlplora_vlm.quantization import quantized_bytes
from mlplora_vlm.sharding import Share, owned_rows
from mlplora_vlm.training import TrainSection, deepspeed_config

EIGHT_BIT_FROM = 4096
"""bitsandbytes keeps the moments of smaller tensors in float32."""
SIZES = [  # (rows of W2 and b2, hidden, z_dim): W2, b2 and W1 below, at and above 4,096 elements
    (4095, 1, 10),
    (4096, 1, 4096),
    (4097, 1, 4097),  # each with a last block of one element
    (1365, 3, 1366),
    (2048, 2, 2047),
    (4351, 2, 10),  # a last block of 255
    (1366, 3, 1365),
]


def one_layer(rows: int, seed: int = 0) -> list[dict[str, Any]]:
    """An optimizer group of A and B with ``rows`` elements together; their values and gradients are drawn."""
    random = torch.Generator().manual_seed(seed)
    params = [nn.Parameter(torch.randn(n, generator=random)) for n in (rows // 3, rows - rows // 3)]
    return [{"name": "layer", "params": params, "heads": ("drawn", "zero")}]


def step(optimizer: GeneratedAdapterOptimizer, first: int, last: int) -> torch.Tensor:
    params = optimizer.param_groups[0]["params"]
    for number in range(first, last):
        random = torch.Generator().manual_seed(number)
        for param in params:
            param.grad = torch.randn(param.shape, generator=random)
        optimizer.step()
    return torch.cat([param.detach().clone() for param in params])


def moments(optimizer: GeneratedAdapterOptimizer) -> dict[str, dict[str, Any]]:
    layer = optimizer.layers["layer"]
    return {name: dict(layer.inner.state[tensor]) for name, tensor in layer.trained.items()}  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["8bit", "paged8bit"])
@pytest.mark.parametrize(("rows", "hidden", "z_dim"), SIZES)
def test_eight_bit_states_resume_exactly_and_take_the_estimated_bytes(tmp_path, kind, rows, hidden, z_dim):
    options: Any = {"hidden": hidden, "z_dim": z_dim, "states": kind, "start": "keep", "lr": 1e-2}
    optimizer = GeneratedAdapterOptimizer(one_layer(rows), **options)
    step(optimizer, 0, 3)
    sizes = {"W2": rows * hidden, "b2": rows, "W1": hidden * z_dim, "c1": hidden, "z": z_dim}
    for name, held in moments(optimizer).items():
        assert (held["state1"].dtype == torch.uint8) == (sizes[name] >= EIGHT_BIT_FROM), name
    layer = optimizer.layers["layer"]
    assert isinstance(layer, GeneratedLayer)
    tensors = [*layer.tensors.values(), layer.owned, *layer.inner.name2qmap.values()]
    tensors += [t for held in moments(optimizer).values() for t in held.values() if isinstance(t, torch.Tensor)]
    held = sum({t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors}.values())
    section = GeneratorSection(hidden=hidden, z_dim=z_dim, states=kind)
    expected = generator_bytes([LayerSize((rows // 3, rows - rows // 3))], section)
    assert held == expected["generator weights"] + expected["generator moments"]

    states.save_states(optimizer, tmp_path, "NO", sharded=True)
    resumed = GeneratedAdapterOptimizer(one_layer(rows), **options)
    for param, trained in zip(resumed.param_groups[0]["params"], optimizer.param_groups[0]["params"], strict=True):
        param.data.copy_(trained.data)
    states.load_states(resumed, tmp_path, "NO")
    assert torch.equal(step(resumed, 3, 6), step(optimizer, 3, 6))
    for name, held_there in moments(optimizer).items():
        for key, value in held_there.items():
            assert torch.equal(torch.as_tensor(moments(resumed)[name][key]), torch.as_tensor(value)), (name, key)


@pytest.mark.parametrize(("rows", "paged"), [(99_999, False), (100_000, True)])
def test_resumed_moments_are_paged_where_new_ones_are(tmp_path, monkeypatch, rows, paged):
    """From 1e5 elements bitsandbytes pages: moments in plain memory after a resume would run out of it."""
    from bitsandbytes.optim.optimizer import Optimizer8bit

    def buffer(self, p, dtype=torch.float32):  # as bitsandbytes' own on a GPU
        made = torch.zeros_like(p, dtype=dtype)
        if p.numel() >= 1e5:
            made.is_paged = True
        return made

    monkeypatch.setattr(Optimizer8bit, "get_state_buffer", buffer)
    monkeypatch.setattr(Optimizer8bit, "prefetch_state", lambda self, p: None)
    options: Any = {"hidden": 1, "z_dim": 3, "states": "paged8bit", "start": "keep"}
    first = GeneratedAdapterOptimizer(one_layer(rows), **options)
    step(first, 0, 1)
    states.save_states(first, tmp_path, "NO", sharded=True)
    resumed = GeneratedAdapterOptimizer(one_layer(rows), **options)
    states.load_states(resumed, tmp_path, "NO")
    step(resumed, 1, 2)
    for optimizer in (first, resumed):
        held = moments(optimizer)["W2"]
        assert [getattr(held[key], "is_paged", False) for key in ("state1", "state2")] == [paged, paged]


def packed(rows: torch.Tensor, dtype: torch.dtype) -> dict[str, Any]:
    moment = torch.ones(len(rows), 2, dtype=dtype)
    return {"rows": rows.int(), "steps": 1, "generator": {"W2": torch.ones(len(rows), 2)},
            "inner": {"W2": {"state1": moment, "state2": moment.clone(), "step": 1}}}  # fmt: skip


@pytest.mark.parametrize("order", [(torch.uint8, torch.float32), (torch.float32, torch.uint8)])
def test_a_small_shard_with_float32_moments_is_not_joined_with_8_bit_ones(order):
    shards = [packed(rows, dtype) for rows, dtype in zip(torch.arange(7).split(4), order, strict=True)]
    with pytest.raises(MendableError, match="8-bit moments are packed"):
        joined(shards)


def test_shards_below_the_8_bit_size_are_joined_into_a_layer_above_it():
    """Their moments are float32 and stay so: AdamW goes on with them."""
    whole = joined([packed(rows, torch.float32) for rows in torch.arange(7).split(4)])
    assert whole["inner"]["W2"]["state1"].shape == (7, 2)
    again = cut(whole, torch.arange(2, 7), "layer")
    assert again["inner"]["W2"]["state2"].dtype == torch.float32 and len(again["rows"]) == 5


def test_a_process_without_any_row_takes_its_part():
    """FSDP2 gives the last processes nothing of a tensor with fewer rows than processes."""
    saved = packed(torch.arange(5), torch.float32)
    nothing = cut(saved, torch.arange(0), "layer")
    assert nothing["inner"]["W2"]["state1"].shape == (0, 2)
    assert torch.equal(joined([saved, nothing])["rows"], saved["rows"])


@pytest.mark.parametrize("options", [{}, {"states": "8bit"}, {"weights": "bfloat16"}, {"optimizer": "sgd"}], ids=str)
def test_a_layer_without_rows_is_stepped(options):
    """Its trunk moves as the other processes' sum says."""
    from mlplora_vlm.inner import SETTINGS, inner_optimizer

    kind = options.get("optimizer", "adamw")
    tensors = {"z": torch.ones(3), "W1": torch.ones(2, 3), "c1": torch.zeros(2), "W2": torch.zeros(0, 2),
               "b2": torch.zeros(0)}  # fmt: skip
    layer = GeneratedLayer(
        "layer",
        tensors,
        Share(lambda: torch.arange(0)),
        inner_optimizer(kind, options.get("states", "float32")),
        bf16=options.get("weights") == "bfloat16",
    )
    grad, dh, _ = layer.gradient(torch.zeros(0))
    given = {"lr": 0.1, "weight_decay": 0.0, "betas": (0.9, 0.999), "eps": 1e-8, "momentum": 0.9}
    before = layer.tensors["W1"].detach().clone()
    made = layer.step(grad, dh + 1, {key: given[key] for key in SETTINGS[kind]})
    assert made.shape == (0,) and not torch.equal(layer.tensors["W1"], before)


def test_rows_beyond_32_bits_are_written_whole():
    """A plain adapter of rank 256 on a 70B model has more than 2³¹ elements in one group."""
    for last, dtype in ((2**31 - 1, torch.int32), (2**31, torch.int64)):
        rows = torch.tensor([5, last])
        share = Share(lambda rows=rows: rows)
        plain = PlainGroup("plain", [torch.zeros(2)], share, lambda p: torch.optim.SGD(p, lr=0.0))
        saved = plain.state()["rows"]
        assert saved.dtype == dtype and saved.tolist() == [5, last]


@pytest.mark.parametrize("count", range(10))
def test_any_count_is_rounded_to_a_neighbor_and_exactly_on_average(count):
    """Four elements share a draw of 64 bits; a count that 4 does not divide leaves part of the last one."""
    values = torch.randn(count, generator=torch.Generator().manual_seed(1))
    down = (values.view(torch.int32) & -(1 << 16)).view(torch.float32)
    up = ((values.view(torch.int32) & -(1 << 16)) + (1 << 16)).view(torch.float32)
    drawn = torch.stack([stochastic_bfloat16(values, seed).float() for seed in range(2000)])
    assert drawn.shape == (2000, count)
    assert ((drawn == down) | (drawn == up)).all()
    assert ((drawn.mean(0) - values).abs() <= 4 * (up - down).abs() * 0.5 / math.sqrt(2000)).all()
    exact = values.bfloat16().float()
    assert torch.equal(stochastic_bfloat16(exact, 7).float(), exact)


WIDTHS = [(1, 62), (1, 63), (1, 64), (1, 65), (7, 9), (255, 64), (256, 64), (257, 64), (255, 65), (1, 256 * 64 + 1)]
"""Weights below, at and above one block of 64, and 256 scales of blocks."""


@pytest.mark.parametrize(("out", "inputs"), WIDTHS)
@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("kind", ["nf4", "fp4"])
def test_four_bit_bytes_at_the_edges_of_blocks(kind, double, out, inputs):
    from bitsandbytes import functional

    weight = torch.randn(out, inputs, generator=torch.Generator().manual_seed(0))
    codes, state = functional.quantize_4bit(weight, quant_type=kind, compress_statistics=double)
    held = state.absmax.nbytes + state.code.nbytes
    if double:
        held += state.state2.absmax.nbytes + state.state2.code.nbytes + state.offset.nbytes
    settings = ModelSection(id="x", quantization=kind, double_quantization=double)
    assert quantized_bytes((out, inputs), settings) == (codes.nbytes, held)
    made = functional.dequantize_4bit(codes, state)
    assert made.shape == weight.shape
    scales = weight.abs().flatten().split(64)
    bound = torch.cat([block.max().expand(len(block)) for block in scales]).view_as(weight)
    assert ((made - weight).abs() <= 0.35 * bound).all(), "each weight is scaled by its own block"


@pytest.mark.parametrize(("out", "inputs"), [(1, 1), (3, 5), (16, 4), (31, 33)])
def test_eight_bit_weights_bytes_at_any_width(out, inputs):
    from bitsandbytes import functional

    codes, scales, _ = functional.int8_vectorwise_quant(torch.randn(out, inputs).half())
    assert quantized_bytes((out, inputs), ModelSection(id="x", quantization="int8")) == (codes.nbytes, scales.nbytes)


@pytest.mark.parametrize("world", [1, 2, 3, 4])
@pytest.mark.parametrize("numel", [1, 2, 7, 8, 9, 16, 17])
def test_rows_of_zero_1_and_2_are_padded_as_deepspeed_pads(world, numel):
    from deepspeed.runtime.zero.stage_1_and_2 import DeepSpeedZeroOptimizer

    engine: Any = SimpleNamespace(flatten=torch._utils._flatten_dense_tensors)
    flat = DeepSpeedZeroOptimizer.flatten_dense_tensors_aligned(engine, [torch.zeros(numel)], 2 * world)
    assert LayerSize((numel,)).rows(2, world) == len(flat) // world
    rows = torch.cat([owned_rows([numel], len(flat) // world, 2, rank, world) for rank in range(world)])
    assert rows[rows >= 0].tolist() == list(range(numel))


@pytest.mark.parametrize(("config", "groups"), [({"sub_group_size": 10**9}, 2), ({}, 1)])
def test_zero_3_steps_a_large_group_as_a_whole(config, groups):
    """By default DeepSpeed would split a group of more than 1e9 elements a process."""
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig
    from deepspeed.runtime.zero.stage3 import DeepSpeedZeroOptimizer_Stage3

    zero = DeepSpeedZeroConfig(**deepspeed_config(TrainSection(zero_stage=3))["zero_optimization"] | config)
    params = [SimpleNamespace(partition_numel=lambda: 10**9), SimpleNamespace(partition_numel=lambda: 3 * 10**9)]
    engine: Any = SimpleNamespace(sub_group_size=zero.sub_group_size)
    assert len(DeepSpeedZeroOptimizer_Stage3._create_fp16_sub_groups(engine, params)) == groups


def test_part_of_a_group_is_refused():
    with pytest.raises(MendableError, match=r"5 elements .* owns 9") as error:
        owned_rows([10, 7], 5, 3, 0, 2)
    assert "sub_group_size" in error.value.where
