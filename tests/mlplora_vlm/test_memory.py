"""The memory estimate agrees with what is really allocated, wherever a CPU can tell."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from small_llava import small_llava

from data_prep.demo.tiny import FAMILIES, tiny_family
from data_prep.demo.tiny.build import build_config
from mlplora_vlm.attach import AdapterSection, GeneratorSection, attach
from mlplora_vlm.families.card import card_for
from mlplora_vlm.families.published import published_config
from mlplora_vlm.kinds import KINDS
from mlplora_vlm.load import ModelSection
from mlplora_vlm.memory import (
    GIB,
    HardwareSection,
    adapter_numbers,
    estimate,
    peak,
    weight_bytes,
)
from mlplora_vlm.meta import meta_model
from mlplora_vlm.optimizer import adapter_groups
from mlplora_vlm.optimizer_bytes import EVER_ON, LayerSize, generator_bytes
from mlplora_vlm.quantization import quantization_config, quantized_bytes
from mlplora_vlm.training import TrainSection

BASE = ModelSection(id="x", dtype="float32")
LLAMA_7B = [(4096, 4096)] * 4 + [(4096, 11008)] * 2 + [(11008, 4096)]  # one layer's linears, (in, out)


@pytest.fixture(scope="module")
def llava() -> Any:
    config = published_config("llava-hf/llava-1.5-7b-hf")
    assert config is not None
    return meta_model(config)


@pytest.fixture(scope="module")
def shallow() -> Any:
    """With two of its language layers: quicker where only proportions matter."""
    config = published_config("llava-hf/llava-1.5-7b-hf")
    assert config is not None
    config.text_config.num_hidden_layers = 2
    return meta_model(config)


@pytest.mark.parametrize(
    ("rank", "states", "gigabytes"),
    [(16, "float32", 15.4), (16, "8bit", 7.7), (64, "float32", 61.7), (64, "8bit", 30.9), (128, "float32", 123)],
)
def test_the_generator_costs_what_the_method_says(rank: int, states: Any, gigabytes: float) -> None:
    """W2 with its moments, hidden 32, on LLaVA-1.5-7B's 224 language linears; b2 is one row in 33 more."""
    layers = [LayerSize((rank * i, rank * o)) for i, o in LLAMA_7B] * 32
    kinds = generator_bytes(layers, GeneratorSection(states=states), stage=2, world=1, on=1.0)
    needed = kinds["generator weights"] + kinds["generator moments"]
    assert needed / 1e9 == pytest.approx(gigabytes * 33 / 32, rel=0.03)


@pytest.mark.parametrize(
    ("kind", "full"),
    [(kind, full) for kind in KINDS for full in ((), ("projector",)) if not full or KINDS[kind].beside_full],
)
def test_every_kind_is_counted_as_it_is_attached(kind: Any, full: Any) -> None:
    """The numbers of the meta device's copy are those of the model that is trained."""
    on = ("language",) if full else ("language", "projector")
    adapter = AdapterSection(kind=kind, rank=4, on=on, full=full)
    model = small_llava()
    numbers, before = adapter_numbers(model, adapter), count(model)
    peft, _ = attach(model, adapter)
    trained = sum(p.numel() for p in peft.parameters() if p.requires_grad)
    groups = adapter_groups(peft)
    assert numbers.trained == trained
    assert [layer.numels for layer in numbers.layers] == [
        tuple(p.numel() for p in group["params"]) for group in groups if group["heads"]
    ]
    assert numbers.plain == sum(p.numel() for group in groups if not group["heads"] for p in group["params"])
    assert (numbers.plain > 0) == bool(full)
    assert numbers.added + numbers.frozen == count(peft) - before
    assert (numbers.frozen > 0) == (kind == "vera")
    plainly = adapter_numbers(small_llava(), replace(adapter, generated=False))
    assert plainly.layers == [] and plainly.plain == plainly.trained == trained


def test_what_is_trained_in_full_has_masters_moments_and_gradients(shallow: Any) -> None:
    beside = AdapterSection(on=("language",), full=("projector",))

    def kinds(adapter: AdapterSection, **choices: Any) -> dict[str, int]:
        return estimate(
            shallow, BASE, adapter, TrainSection(zero_stage=2, **choices), HardwareSection(gpus=1), tokens=768
        ).gpu

    projector = sum(p.numel() for n, p in shallow.named_parameters() if "projector" in n)
    without, full = kinds(replace(beside, full=())), kinds(beside)
    assert full["plain moments"] == 8 * projector and "plain moments" not in without
    for kind in ("fp32 masters", "gradients"):
        assert full[kind] - without[kind] == 4 * projector, kind
    assert full["adapter"] - without["adapter"] == 4 * projector  # PEFT trains a copy
    assert kinds(beside, optimizer="sgd", momentum=0.0).get("plain moments", 0) == 0


def test_choices_of_the_generator_change_its_bytes(shallow: Any) -> None:
    def held(**choices: Any) -> int:
        adapter = AdapterSection(generator=GeneratorSection(**choices))
        gpu = estimate(shallow, BASE, adapter, TrainSection(), HardwareSection(gpus=1), tokens=768).gpu
        return gpu["generator weights"] + gpu["generator moments"]

    every_unit = held(form="linear")
    assert held() == pytest.approx(every_unit * EVER_ON, rel=0.02), "units that are never on have no columns"
    assert held(states="8bit") == held(states="paged8bit") == pytest.approx(every_unit / 2, rel=0.05)
    assert held(weights="bfloat16") == pytest.approx(held() * 10 / 12, rel=0.02)
    assert held(states="8bit", weights="bfloat16") == pytest.approx(every_unit * 4 / 12, rel=0.03)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_zero_cuts_the_generator(stage: int) -> None:
    layers = [LayerSize((16 * i, 16 * o)) for i, o in LLAMA_7B]
    whole = sum(generator_bytes(layers, GeneratorSection(), stage, 1).values())
    eighth = sum(generator_bytes(layers, GeneratorSection(), stage, 8).values())
    assert whole / eighth == pytest.approx(1 if stage == 0 else 8, rel=0.02)


def test_weights_are_counted_exactly() -> None:
    model = small_llava()
    held = sum(t.nbytes for t in model.parameters()) + sum(t.nbytes for t in model.buffers())
    assert weight_bytes(model, card_for("llava"), BASE, 4) == held


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
@pytest.mark.parametrize("double", [True, False])
def test_four_bits_take_what_bitsandbytes_allocates(kind: Any, double: bool) -> None:
    functional = pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed").functional
    packed, state = functional.quantize_4bit(torch.randn(2051, 2048), quant_type=kind, compress_statistics=double)
    held = state.absmax.nbytes + state.code.nbytes
    if double:
        held += state.state2.absmax.nbytes + state.state2.code.nbytes + state.offset.nbytes
    settings = ModelSection(id="x", quantization=kind, double_quantization=double)
    assert quantized_bytes((2051, 2048), settings) == (packed.nbytes, held)


def test_at_most_at_once_is_the_larger_of_the_passes_and_the_step() -> None:
    steady = {"base weights": 100, "generator moments": 10}
    assert peak(steady) == 110
    assert peak(steady | {"activations": 30, "logits": 20, "layer at work": 5, "generator step": 40}) == 160
    assert peak(steady | {"activations": 3, "logits": 2, "layer at work": 5, "generator step": 40}) == 150


@pytest.mark.parametrize("name", FAMILIES)
def test_nf4_is_counted_where_transformers_puts_it(name: str) -> None:
    """On the language model's layers, and nothing else: the card's names decide, by transformers' own matching."""
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    from bitsandbytes.nn import Linear4bit
    from transformers.integrations import replace_with_bnb_linear

    config = build_config(tiny_family(name))
    model, card = meta_model(config), card_for(config.model_type)
    whole = weight_bytes(model, card, BASE, 2)
    four = ModelSection(id="x", quantization="nf4")
    saved = whole - weight_bytes(model, card, four, 2)
    quantization = quantization_config(four, torch.bfloat16, card)
    replace_with_bnb_linear(model, quantization.llm_int8_skip_modules, quantization)
    four_bit = {path: module for path, module in model.named_modules() if isinstance(module, Linear4bit)}
    assert four_bit and all(re.fullmatch(card.language, path) for path in four_bit)
    shapes = [(module.out_features, module.in_features) for module in four_bit.values()]
    assert saved == sum(2 * math.prod(shape) - sum(quantized_bytes(shape, four)) for shape in shapes)


def test_nf4_keeps_what_the_card_names(llava: Any) -> None:
    card = card_for("llava")
    whole = weight_bytes(llava, card, BASE, 2)
    four_bit = weight_bytes(llava, card, ModelSection(id="x", quantization="nf4"), 2)
    linears = 32 * sum(i * o for i, o in LLAMA_7B)
    each = 0.5 + 1 / 64 + 4 / (64 * 256)  # half a byte, an 8-bit scale a block of 64, an fp32 one a block of those
    assert whole - four_bit == pytest.approx(linears * (2 - each), rel=1e-4)
    assert 4 * GIB < four_bit < 4.5 * GIB


def test_checkpointing_and_liger_cost_less(llava: Any) -> None:
    def activations(**choices: Any) -> dict[str, int]:
        train = TrainSection(batch_size=4, **choices)
        return estimate(llava, BASE, AdapterSection(), train, HardwareSection(gpus=1), tokens=768).gpu

    plain, checkpointed = activations(), activations(gradient_checkpointing=True)
    assert checkpointed["activations"] < plain["activations"] / 8
    assert "logits" in plain and "logits" not in activations(liger_kernel=True)


def test_kinds_move_to_the_host_and_shrink_with_gpus(shallow: Any) -> None:
    adapter, one, eight = AdapterSection(), HardwareSection(gpus=1), HardwareSection(gpus=8)

    def run(
        hardware: HardwareSection, base: ModelSection = BASE, kind: AdapterSection = adapter, **choices: Any
    ) -> Any:
        return estimate(shallow, base, kind, TrainSection(**choices), hardware, tokens=768)

    stage2, stage3 = run(eight, zero_stage=2, processes=8), run(eight, zero_stage=3, processes=8)
    assert stage3.gpu["base weights"] == stage2.gpu["base weights"] // 8
    assert run(one).gpu["generator weights"] == pytest.approx(8 * stage2.gpu["generator weights"], rel=0.01)
    offloaded = run(one, zero_stage=3, offload=True)
    assert not {"base weights", "generator weights", "fp32 masters"} & offloaded.gpu.keys()
    assert {"base weights", "generator weights", "fp32 masters"} <= offloaded.host.keys()
    on_host = run(one, kind=AdapterSection(generator=GeneratorSection(device="cpu")))
    assert "generator moments" in on_host.host and "generator moments" not in on_host.gpu
    cpu = run(HardwareSection(), processes=2)
    assert cpu.gpu == {} and cpu.host["base weights"] == 2 * run(HardwareSection()).host["base weights"]
    small_bucket = estimate(
        shallow, BASE, adapter, TrainSection(), one, tokens=768, zero={"reduce_bucket_size": 1000, "overlap_comm": True}
    )
    assert small_bucket.gpu["engine buffers"] == 1000 * 4 * 2


def test_fits_compares_with_the_stated_memory(llava: Any) -> None:
    hardware = HardwareSection(gpus=1, memory_gib=24)
    found = estimate(llava, BASE, AdapterSection(), TrainSection(), hardware, tokens=768)
    assert not found.fits(hardware) and found.fits(HardwareSection(gpus=1))
    assert found.fits(HardwareSection(gpus=1, memory_gib=math.ceil(found.needed(hardware) / GIB)))


def count(model: torch.nn.Module) -> int:
    return sum(t.numel() for t in (*model.parameters(), *model.buffers()))
