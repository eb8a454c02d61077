"""The estimate bounds what a forward pass keeps, and is not far above it: measured by autograd, family by family."""

from __future__ import annotations

import functools
import gc
from dataclasses import replace
from typing import Any

import pytest
import torch
from PIL import Image
from small_llava import IMAGE, small_llava

from data_prep.collate import TrainCollator
from data_prep.demo.tiny import FAMILIES, tiny_family
from data_prep.demo.tiny.build import build_model, build_processor
from data_prep.example import Example
from mlplora_vlm.activation_bytes import Passes, TowerInput, logit_bytes, vocabulary
from mlplora_vlm.attach import AdapterSection, attach
from mlplora_vlm.families.published import published_config
from mlplora_vlm.kinds import KINDS
from mlplora_vlm.load import ModelSection
from mlplora_vlm.meta import meta_model
from mlplora_vlm.targets import PartSection
from recipes.pictures import tower_input

SIZE = (640, 480)


@pytest.mark.parametrize(
    ("dtype", "attention", "kind"),
    [(d, a, "lora") for d in ("float32", "bfloat16") for a in ("sdpa", "eager")]
    + [("float32", "sdpa", kind) for kind in KINDS if kind != "lora"],
)
def test_activations_bound_what_autograd_keeps(dtype: Any, attention: Any, kind: Any) -> None:
    """Everything that the graph holds for the backward pass, weights apart; the estimate is above it, and not far."""
    base, adapter = ModelSection(id="x", dtype=dtype, attn_implementation=attention), AdapterSection(kind=kind, rank=4)
    batch, tokens, size = 4, 96, 4 if dtype == "float32" else 2
    model = small_llava(getattr(torch, dtype))
    model.set_attn_implementation(attention)
    expected = Passes(model, base, batch, tokens, TowerInput(17, 17), size).kept(adapter, checkpointing=False)
    expected += logit_bytes(model, batch * tokens)
    peft, _ = attach(model, adapter)
    ids = torch.randint(10, 1000, (batch, tokens))
    ids[:, :16] = IMAGE
    pixels = torch.randn(batch, 3, 56, 56, dtype=getattr(torch, dtype))
    rows = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels, "labels": ids}
    kept = saved_bytes(peft, rows)
    assert kept <= expected <= 1.8 * kept, (kept, expected)


@functools.cache
def family(name: str) -> tuple[Any, Any, dict[str, torch.Tensor], TowerInput]:
    """(processor, model, a batch of four rows, what the tower is given of each) of a tiny model."""
    processor = build_processor(tiny_family(name))
    model = build_model(tiny_family(name), processor)
    if processor.card.mend:
        processor.card.mend(model)
    grey = Image.new("RGB", SIZE, (128, 128, 128))
    rows = [Example(f"{row}", (grey,), "what color is the shape? " * 12, "blue", ("blue",), "test") for row in range(4)]
    return processor, model, TrainCollator(processor)(rows), tower_input(processor, model.config, SIZE)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_familys_activations_are_bounded(name: str) -> None:
    """With adapters on all parts, the tower too: every layer of both stacks is kept."""
    processor, model, batch, pictures = family(name)
    on, full = ("language", "projector", "vision"), ()
    if processor.card.bare_projector:
        on, full = ("language", "vision"), ("projector",)
    adapter = AdapterSection(on=on, full=full, rank=4)
    rows, tokens = batch["input_ids"].shape
    expected = Passes(model, ModelSection(id="x"), rows, tokens, pictures, 4).kept(adapter, checkpointing=False)
    expected += logit_bytes(model, rows * tokens)
    peft, _ = attach(model, adapter)
    try:
        kept = saved_bytes(peft, batch)
    finally:
        peft.unload()
        family.cache_clear()  # the model was wrapped in place
    assert kept <= expected <= 2.5 * kept, (kept, expected)


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "mllama", "qwen3_5", "gemma4", "lfm2_vl"])
def test_the_cache_of_keys_and_values_is_counted(name: str) -> None:
    """Exactly, but for sliding windows, which are counted as if they saw everything."""
    _, model, batch, pictures = family(name)
    batch = {key: value for key, value in batch.items() if key != "labels"}
    rows, tokens = batch["input_ids"].shape
    expected = Passes(model, ModelSection(id="x"), rows, tokens, pictures, 4).answering(new_tokens=0)
    with torch.no_grad():
        cache = model(**batch, use_cache=True).past_key_values
    held = sum(tensor.nbytes for layer in cache.layers for tensor in tensors(vars(layer)))
    assert held <= expected["key-value cache"] <= (1.7 if name == "gemma4" else 1.25) * held
    assert expected["logits"] == rows * vocabulary(model) * 8


def test_each_parts_rank_counts() -> None:
    model = small_llava()
    passes = Passes(model, ModelSection(id="x"), 2, 96, TowerInput(17, 17), 4)
    on = AdapterSection(on=("language", "projector", "vision"), rank=4)
    least = passes.kept(on, checkpointing=False)
    for part, numbers in (("language", 28 * 96), ("vision", 18 * 17), ("projector", 2 * 17)):
        more = passes.kept(replace(on, **{part: PartSection(rank=6)}), checkpointing=False)
        assert more - least == 2 * 4 * 2 * numbers, part


def test_the_picture_of_llama_3_2_vision_is_paid_for_in_its_cross_attention() -> None:
    config = published_config("meta-llama/Llama-3.2-11B-Vision-Instruct")
    assert config is not None
    model, adapter, base = meta_model(config), AdapterSection(), ModelSection(id="x")
    picture, none = TowerInput(6404, 6404), TowerInput(0, 0)
    with_it, without = (Passes(model, base, 1, 128, seen, 2) for seen in (picture, none))
    beside = with_it.kept(adapter, checkpointing=False) - without.kept(adapter, checkpointing=False)
    assert beside > 8 * 6404 * (2 * 1024 * 6 + 2 * 4096 * 2)  # keys and values of 8 layers, in fp32 and repeated
    assert with_it.answering(0)["key-value cache"] == 2 * 2 * 1024 * (32 * 128 + 8 * 6404)


def saved_bytes(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> int:
    """Bytes of the distinct storages that one forward pass with loss saves, without the model's own."""
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    held: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            held[storage.data_ptr()] = tensor.detach()  # kept alive, so that no storage's address is used twice
        return tensor

    gc.collect()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(**batch).loss
    loss.backward()
    return sum(tensor.untyped_storage().nbytes() for tensor in held.values())


def tensors(value: Any) -> list[torch.Tensor]:
    """Every tensor in nested lists and mappings."""
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [tensor for part in parts for tensor in tensors(part)]
