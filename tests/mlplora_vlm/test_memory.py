"""The memory estimate agrees with what is really allocated, wherever a CPU can tell."""

from __future__ import annotations

import gc
import math
from typing import Any

import pytest
import torch
from transformers import LlavaConfig, LlavaForConditionalGeneration

from mlplora_vlm.attach import AdapterSection, GeneratorSection, attach, targets
from mlplora_vlm.families.card import card_for
from mlplora_vlm.families.published import published_config
from mlplora_vlm.load import ModelSection
from mlplora_vlm.memory import (
    GIB,
    NF4_BYTES,
    HardwareSection,
    activation_bytes,
    estimate,
    generator_bytes,
    logit_bytes,
    weight_bytes,
)
from mlplora_vlm.meta import meta_model
from mlplora_vlm.training import TrainSection

BASE = ModelSection(id="x", dtype="float32")
LLAMA_7B = [(4096, 4096)] * 4 + [(4096, 11008)] * 2 + [(11008, 4096)]  # one layer's linears, (in, out)
IMAGE = 5


@pytest.fixture(scope="module")
def llava() -> Any:
    config = published_config("llava-hf/llava-1.5-7b-hf")
    assert config is not None
    return meta_model(config)


def small_llava(dtype: torch.dtype = torch.float32) -> LlavaForConditionalGeneration:
    """Large enough that the tensors which grow with the batch are most of what is kept."""
    config = LlavaConfig(
        vision_config={
            "model_type": "clip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "image_size": 56,
            "patch_size": 14,
        },
        text_config={
            "model_type": "llama",
            "vocab_size": 1000,
            "hidden_size": 128,
            "intermediate_size": 344,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
        },
        image_token_index=IMAGE,
        image_seq_length=16,
    )
    torch.manual_seed(0)
    model: LlavaForConditionalGeneration = LlavaForConditionalGeneration._from_config(config, dtype=dtype)
    return model


@pytest.mark.parametrize(
    ("rank", "states", "gigabytes"),
    [(16, "float32", 15.4), (16, "8bit", 7.7), (64, "float32", 61.7), (64, "8bit", 30.9), (128, "float32", 123)],
)
def test_the_generator_costs_what_the_method_says(rank: int, states: Any, gigabytes: float) -> None:
    """W2 with its moments, hidden 32, on LLaVA-1.5-7B's 224 language linears; b2 is one row in 33 more."""
    layers = [(rank * i, rank * o) for i, o in LLAMA_7B] * 32
    kinds = generator_bytes(layers, GeneratorSection(states=states), stage=2, world=1)
    needed = kinds["generator weights"] + kinds["generator moments"]
    assert needed / 1e9 == pytest.approx(gigabytes * 33 / 32, rel=0.03)


@pytest.mark.parametrize("states", ["float32", "8bit"])
def test_the_generator_is_counted_exactly(states: Any) -> None:
    from mlplora_vlm.optimizer import GeneratedAdapterOptimizer, adapter_groups

    adapter = AdapterSection(rank=4, generator=GeneratorSection(hidden=16, states=states))
    model = small_llava()
    found = targets(model, adapter, card_for("llava"))
    linears: list[Any] = [model.get_submodule(name) for names in found.values() for name in names]
    layers = [(4 * linear.in_features, 4 * linear.out_features) for linear in linears]
    peft, _ = attach(model, adapter)
    optimizer = GeneratedAdapterOptimizer(adapter_groups(peft), hidden=16, states=states)
    for parameter in peft.parameters():
        parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
    optimizer.step()
    weights = moments = 0
    for layer in optimizer.layers.values():
        weights += sum(t.nbytes for t in layer.tensors.values()) + layer.owned.nbytes
        for state in layer.inner.state.values():
            # qmap is one table of 256 numbers for all; step is one number
            moments += sum(t.nbytes for k, t in state.items() if torch.is_tensor(t) and "qmap" not in k and k != "step")
    expected = generator_bytes(layers, adapter.generator, stage=0, world=1)
    assert (expected["generator weights"], expected["generator moments"]) == (weights, moments)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_zero_cuts_the_generator(stage: int) -> None:
    layers = [(16 * i, 16 * o) for i, o in LLAMA_7B]
    whole = sum(generator_bytes(layers, GeneratorSection(), stage, 1).values())
    eighth = sum(generator_bytes(layers, GeneratorSection(), stage, 8).values())
    assert whole / eighth == pytest.approx(1 if stage == 0 else 8, rel=0.02)


def test_weights_are_counted_exactly() -> None:
    model = small_llava()
    held = sum(t.nbytes for t in model.parameters()) + sum(4 * t.numel() for t in model.buffers())
    assert weight_bytes(model, card_for("llava"), BASE, 4) == held


def test_nf4_takes_what_bitsandbytes_allocates() -> None:
    functional = pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed").functional
    packed, state = functional.quantize_4bit(torch.randn(2048, 2048), quant_type="nf4", compress_statistics=True)
    held = packed.nbytes + state.absmax.nbytes + state.state2.absmax.nbytes
    assert held / 2048**2 == pytest.approx(NF4_BYTES, rel=1e-3)


def test_nf4_keeps_what_the_card_names(llava: Any) -> None:
    card = card_for("llava")
    whole = weight_bytes(llava, card, BASE, 2)
    four_bit = weight_bytes(llava, card, ModelSection(id="x", quantization="nf4"), 2)
    linears = 32 * sum(i * o for i, o in LLAMA_7B)
    assert whole - four_bit == pytest.approx(linears * (2 - NF4_BYTES), rel=1e-6)
    assert 4 * GIB < four_bit < 4.5 * GIB


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_activations_bound_what_autograd_keeps(dtype: Any, attention: Any) -> None:
    """Everything that the graph holds for the backward pass, weights apart; the estimate is above it, and not far."""
    base, adapter = ModelSection(id="x", dtype=dtype, attn_implementation=attention), AdapterSection(rank=4)
    batch, tokens = 4, 96
    train = TrainSection(batch_size=batch)
    model = small_llava(getattr(torch, dtype))
    model.set_attn_implementation(attention)
    found, size = targets(model, adapter, card_for("llava")), 4 if dtype == "float32" else 2
    expected = activation_bytes(model, found, base, adapter, train, tokens, size)
    expected += logit_bytes(model, batch * tokens, size)
    peft, _ = attach(model, adapter)
    kept = saved_bytes(peft, batch, tokens, getattr(torch, dtype))
    assert kept <= expected <= 1.8 * kept, (kept, expected)


def test_checkpointing_and_liger_cost_less(llava: Any) -> None:
    def activations(**choices: Any) -> dict[str, int]:
        train = TrainSection(batch_size=4, **choices)
        return estimate(llava, BASE, AdapterSection(), train, HardwareSection(gpus=1), tokens=768).gpu

    plain, checkpointed = activations(), activations(gradient_checkpointing=True)
    assert checkpointed["activations"] < plain["activations"] / 8
    assert "logits" in plain and "logits" not in activations(liger_kernel=True)


def test_kinds_move_to_the_host_and_shrink_with_gpus(llava: Any) -> None:
    adapter, one, eight = AdapterSection(), HardwareSection(gpus=1), HardwareSection(gpus=8)

    def run(
        hardware: HardwareSection, base: ModelSection = BASE, kind: AdapterSection = adapter, **choices: Any
    ) -> Any:
        return estimate(llava, base, kind, TrainSection(**choices), hardware, tokens=768)

    stage2, stage3 = run(eight, zero_stage=2, processes=8), run(eight, zero_stage=3, processes=8)
    assert stage3.gpu["base weights"] == stage2.gpu["base weights"] // 8
    assert run(one).gpu["generator weights"] == pytest.approx(8 * stage2.gpu["generator weights"], rel=0.01)
    offloaded = run(one, zero_stage=3, offload=True)
    assert not {"base weights", "generator weights", "fp32 masters of the adapter"} & offloaded.gpu.keys()
    assert {"base weights", "generator weights", "fp32 masters of the adapter"} <= offloaded.host.keys()
    on_host = run(one, kind=AdapterSection(generator=GeneratorSection(device="cpu")))
    assert "generator moments" in on_host.host and "generator moments" not in on_host.gpu
    cpu = run(HardwareSection(), processes=2)
    assert cpu.gpu == {} and cpu.host["base weights"] == 2 * run(HardwareSection()).host["base weights"]
    small_bucket = estimate(
        llava, BASE, adapter, TrainSection(), one, tokens=768, zero={"reduce_bucket_size": 1000, "overlap_comm": True}
    )
    assert small_bucket.gpu["engine buffers"] == 1000 * 4 * 2


def test_fits_compares_with_the_stated_memory(llava: Any) -> None:
    hardware = HardwareSection(gpus=1, memory_gib=24)
    found = estimate(llava, BASE, AdapterSection(), TrainSection(), hardware, tokens=768)
    assert not found.fits(hardware) and found.fits(HardwareSection(gpus=1))
    assert found.fits(HardwareSection(gpus=1, memory_gib=math.ceil(found.needed(hardware) / GIB)))


def saved_bytes(model: torch.nn.Module, batch: int, tokens: int, dtype: torch.dtype) -> int:
    """Bytes of the distinct storages that one forward pass with loss saves, without the model's own."""
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    held: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            held[storage.data_ptr()] = tensor.detach()  # kept alive, so that no storage's address is used twice
        return tensor

    ids = torch.randint(10, 1000, (batch, tokens))
    ids[:, :16] = IMAGE
    pixels = torch.randn(batch, 3, 56, 56, dtype=dtype)
    gc.collect()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels, labels=ids).loss
    loss.backward()
    return sum(tensor.untyped_storage().nbytes() for tensor in held.values())
