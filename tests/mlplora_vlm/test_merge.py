"""Every kind of adapter, through collapse and merge: stock PEFT and stock transformers say what the live model said."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_batch import batch

from mlplora_vlm.attach import AdapterSection, attach, trained_numbers
from mlplora_vlm.checkpoint import save_adapter
from mlplora_vlm.collapse import collapse
from mlplora_vlm.kinds import KINDS
from mlplora_vlm.load import ModelSection, load_model
from mlplora_vlm.merge import merge
from mlplora_vlm.verify import answer_logits, relative_error, save_reference, verify_logits

FULL: dict[str, Any] = {"on": ("language",), "full": ("projector",)}
CASES = [
    (kind, more, quantization)
    for kind in KINDS
    for more in ({}, FULL)
    for quantization in ("none", "nf4")
    if (KINDS[kind].beside_full or not more) and not (KINDS[kind].changes_base and quantization == "nf4")
]
"""All but what is refused when the recipe is read."""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    from tiny_llava import build

    return str(build(tmp_path_factory.mktemp("tiny")))


class SavedBy:
    """As much of a Trainer as saving needs."""

    def __init__(self, model):
        self.model = model

    def save_model(self, folder):
        self.model.save_pretrained(folder)

    def is_world_process_zero(self):
        return True


def chain(base, folder, settings, section, of_dtype=lambda tensors: tensors):
    """(facts of verify, relative change of the logits through "training") of a made-up adapter."""
    untuned = answer_logits(load_model(base, settings), of_dtype(batch()))
    model, _ = attach(load_model(base, settings), section)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    save_reference(model, of_dtype(batch()), folder / "reference.safetensors")
    save_adapter(SavedBy(model), folder / "trained")  # type: ignore[arg-type]
    collapse(folder / "trained", folder / "adapter", base)
    facts = merge(base, settings, folder / "adapter", folder / "merged")
    assert facts["layers"] == (14 if section.full else 16)
    found = verify_logits(base, settings, folder / "adapter", folder / "merged", folder / "reference.safetensors")
    changed = relative_error(load_file(folder / "reference.safetensors")["answer_logits"], untuned)
    return model, found, changed


@pytest.mark.parametrize(
    ("kind", "more", "quantization"), CASES, ids=[f"{k}-{'full' if more else 'all'}-{q}" for k, more, q in CASES]
)
def test_stock_libraries_say_what_the_live_model_said(base, tmp_path, kind, more, quantization):
    section = AdapterSection(kind=kind, rank=3, alpha=6, **more)
    settings = ModelSection(id=base, dtype="float32", quantization=quantization)
    model, facts, changed = chain(base, tmp_path, settings, section)
    print(f"{kind} {more} {quantization}: collapse {facts['collapse_error']:.1e}, merge {facts['merge_error']:.1e}")
    assert changed > 0.05, "made-up values must matter"
    assert facts["collapse_error"] <= 1e-5 and facts["merge_error"] <= 1e-5
    original, merged = (load_file(f"{folder}/model.safetensors") for folder in (base, tmp_path / "merged"))
    assert {n: t.shape for n, t in original.items()} == {n: t.shape for n, t in merged.items()}
    differing = {n for n in original if not torch.equal(original[n].float(), merged[n])}
    projector = {n for n in differing if "multi_modal_projector" in n}
    assert len(projector) == (4 if more else 2), "in full: both linears with their biases"
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (config["modules_to_save"] or []) == (["model.multi_modal_projector"] if more else [])
    assert all("model." in name for name in config["target_modules"]), "full names"
    numbers = sum(trained_numbers(model).values())
    held = sum(t.numel() for n, t in load_file(tmp_path / "adapter" / "adapter_model.safetensors").items()
               if n not in KINDS[kind].shared)  # fmt: skip
    twice = trained_numbers(model)["adapter"] if KINDS[kind].changes_base else 0
    assert held == numbers + twice


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_stays_within_its_bound(base, tmp_path, kind):
    def half(tensors):
        return {n: t.bfloat16() if t.is_floating_point() else t for n, t in tensors.items()}

    settings = ModelSection(id=base, dtype="bfloat16")
    _, facts, _ = chain(base, tmp_path, settings, AdapterSection(kind=kind, rank=3, alpha=6), half)
    print(f"{kind} bfloat16: collapse {facts['collapse_error']:.1e}, merge {facts['merge_error']:.1e}")
    if not KINDS[kind].changes_base:
        assert facts["collapse_error"] == 0
