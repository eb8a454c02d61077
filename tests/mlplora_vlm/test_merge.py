"""Every kind of adapter, through collapse and merge: stock PEFT and stock transformers say what the live model said."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_batch import batch

from mlplora_vlm import stock_check
from mlplora_vlm import verify as verification
from mlplora_vlm.attach import AdapterSection, attach, trained_numbers
from mlplora_vlm.checkpoint import save_adapter
from mlplora_vlm.collapse import collapse
from mlplora_vlm.errors import MendableError
from mlplora_vlm.kinds import KINDS
from mlplora_vlm.load import ModelSection, load_model, load_processor, load_tuned
from mlplora_vlm.merge import MergeSection, merge
from mlplora_vlm.targets import PartSection
from mlplora_vlm.verify import LOGITS, answer_logits, read_reference, relative_error, save_reference, verify_logits

FULL: dict[str, Any] = {"on": ("language",), "full": ("projector",)}
CASES = [
    (kind, more, quantization)
    for kind in KINDS
    for more in ({}, FULL)
    for quantization in ("none", "nf4")
    if (KINDS[kind].beside_full or not more) and not (KINDS[kind].changes_base and quantization == "nf4")
]
"""All but what is refused when the recipe is read."""
CASES += [("lora", {}, "fp4"), ("dora", {}, "fp4"), ("lora", {}, "int8")]


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """The very script of the fresh process (tests/families/test_verify.py starts one), without another start-up."""
    monkeypatch.setattr(verification, "_in_fresh_process", stock_check.main)


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
    save_reference(model, [of_dtype(batch())], folder / "reference.safetensors")
    save_adapter(SavedBy(model), folder / "trained")  # type: ignore[arg-type]
    collapse(folder / "trained", folder / "adapter", base)
    facts = merge(base, settings, folder / "adapter", folder / "merged")
    assert facts["layers"] == (14 if section.full else 16)
    found = verify_logits(base, settings, folder / "adapter", folder / "merged", folder / "reference.safetensors")
    changed = relative_error(read_reference(folder / "reference.safetensors")[0][LOGITS], untuned)
    return model, found, changed


def whole(base, settings, folder):
    """PEFT's own merge of the whole model, in memory."""
    return load_tuned(base, folder / "adapter", settings).merge_and_unload(safe_merge=True)


def check_oracle(base, settings, folder):
    whole(base, settings, folder).save_pretrained(folder / "whole")
    wanted, got = (load_file(folder / name / "model.safetensors") for name in ("whole", "merged"))
    assert wanted.keys() == got.keys() and all((got[n] - wanted[n]).norm() <= 1e-6 * wanted[n].norm() for n in wanted)


@pytest.mark.parametrize(
    ("kind", "more", "quantization"), CASES, ids=[f"{k}-{'full' if more else 'all'}-{q}" for k, more, q in CASES]
)
def test_stock_libraries_say_what_the_live_model_said(base, tmp_path, kind, more, quantization):
    section = AdapterSection(kind=kind, rank=3, alpha=6, **more)
    settings = ModelSection(id=base, dtype="float32", quantization=quantization)
    model, facts, changed = chain(base, tmp_path, settings, section)
    if quantization == "none":
        check_oracle(base, settings, tmp_path)
    print(f"{kind} {more} {quantization}: collapse {facts['collapse_error']:.1e}, merge {facts['merge_error']:.1e}")
    assert changed > 0.05, "made-up values must matter"
    assert facts["collapse_error"] <= 1e-5 and facts["merge_error"] <= facts["merge_bound"]
    assert facts["merge_bound"] == (1e-5 if quantization != "int8" else 5e-2)
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


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not KINDS[kind].changes_base])
def test_a_bfloat16_base_is_rounded_once(base, tmp_path, kind):
    """What is written is the nearest bfloat16 to the sum, to the bit; PEFT's own merge rounds the change too."""
    settings = ModelSection(id=str(tmp_path / "base"), dtype="bfloat16")
    load_model(base, ModelSection(id=base, dtype="bfloat16")).save_pretrained(tmp_path / "base")
    load_processor(base, settings).save_pretrained(tmp_path / "base")
    model, _ = made_up(settings, AdapterSection(kind=kind, rank=3, alpha=6))
    model.save_pretrained(tmp_path / "adapter")
    merge(settings.id, settings, tmp_path / "adapter", tmp_path / "merged")
    whole(settings.id, replace(settings, dtype="float32"), tmp_path).save_pretrained(tmp_path / "whole")
    exact, got = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "merged"))
    assert exact.keys() == got.keys() and all(torch.equal(got[n], exact[n].bfloat16()) for n in got)
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert config["dtype"] == "bfloat16" and config["text_config"]["dtype"] in ("bfloat16", None)


def made_up(settings, section):
    """A model with an adapter of random numbers, as if it were trained."""
    model, counts = attach(load_model(settings.id, settings), section)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model, counts


@pytest.mark.parametrize("kind", ["lora", "rslora"])
def test_parts_with_ranks_of_their_own_have_their_own_scale(base, tmp_path, kind):
    section = AdapterSection(
        kind=kind, rank=3, alpha=6, on=("language", "projector", "vision"), projector=PartSection(rank=5),
        language=PartSection(layers="1"),
    )  # fmt: skip
    settings = ModelSection(id=base, dtype="float32")
    model, _ = made_up(settings, section)
    model.save_pretrained(tmp_path / "trained")
    collapse(tmp_path / "trained", tmp_path / "adapter", base)
    merge(base, settings, tmp_path / "adapter", tmp_path / "merged")
    check_oracle(base, settings, tmp_path)


def test_what_cannot_be_merged_is_refused_with_the_reason(base, tmp_path):
    settings = ModelSection(id=base, dtype="float32")
    model, _ = made_up(settings, AdapterSection(rank=3, alpha=6))
    model.save_pretrained(tmp_path / "trained")
    collapse(tmp_path / "trained", tmp_path / "adapter", base)
    adapter, merged = tmp_path / "adapter", tmp_path / "merged"
    with pytest.raises(MendableError, match="itself an adapter folder"):
        merge(str(adapter), settings, adapter, merged)
    shutil.copytree(base, tmp_path / "half")
    (tmp_path / "half" / "model.safetensors").unlink()
    with pytest.raises(MendableError, match=r"has no model\.safetensors"):
        merge(str(tmp_path / "half"), settings, adapter, merged)
    shutil.copytree(base, tmp_path / "other")
    file = tmp_path / "other" / "model.safetensors"
    tensors = load_file(file)
    lost = next(name for name in tensors if "down_proj" in name)
    save_file({name: tensor for name, tensor in tensors.items() if name != lost}, file, {"format": "pt"})
    with pytest.raises(MendableError, match="lack 1 adapted tensors"):
        merge(str(tmp_path / "other"), settings, adapter, merged)
    config = json.loads((tmp_path / "other" / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes"}
    (tmp_path / "other" / "config.json").write_text(json.dumps(config))
    with pytest.raises(MendableError, match=r"quantized already \(bitsandbytes\)"):
        merge(str(tmp_path / "other"), settings, adapter, merged)
    assert not merged.exists()
    assert next(what for _, what, _ in MergeSection("quantized").problems()).startswith("a merge inside 4 bits")


def test_a_layer_that_shares_its_weight_is_refused(base, tmp_path):
    """The head of a model whose embedding is its head: a merge into one would change the other."""
    from peft import LoraConfig, get_peft_model

    model = load_model(base, ModelSection(id=base, dtype="float32"))
    model.config.tie_word_embeddings = model.config.text_config.tie_word_embeddings = True
    model.tie_weights()
    model.save_pretrained(tmp_path / "base")
    load_processor(base, ModelSection(id=base)).save_pretrained(tmp_path / "base")
    tied = ModelSection(id=str(tmp_path / "base"), dtype="float32")
    tuned = get_peft_model(
        load_model(tied.id, tied), LoraConfig(r=2, target_modules=["lm_head"], init_lora_weights=False)
    )
    tuned.save_pretrained(tmp_path / "trained", save_embedding_layers=False)
    collapse(tmp_path / "trained", tmp_path / "adapter", tied.id)
    with pytest.raises(MendableError, match=r"lm_head\.weight shares its weight with another layer"):
        merge(tied.id, tied, tmp_path / "adapter", tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_an_adapter_is_merged_once(base, tmp_path):
    settings = ModelSection(id=base, dtype="float32")
    model, _ = made_up(settings, AdapterSection(rank=3, alpha=6))
    model.save_pretrained(tmp_path / "trained")
    collapse(tmp_path / "trained", tmp_path / "adapter", base)
    merge(base, settings, tmp_path / "adapter", tmp_path / "merged")
    first = (tmp_path / "merged" / "model.safetensors").read_bytes()
    merge(base, settings, tmp_path / "adapter", tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == first
    with pytest.raises(MendableError, match=r"model\.safetensors"):
        merge(base, settings, tmp_path / "adapter", tmp_path / "merged")
    assert (tmp_path / "merged" / "model.safetensors").read_bytes() == first
    on_merged = replace(settings, id=str(tmp_path / "merged"))
    with pytest.raises(MendableError, match="merged into this base already"):
        merge(on_merged.id, on_merged, tmp_path / "adapter", tmp_path / "twice")
    load_model(on_merged.id, on_merged).save_pretrained(tmp_path / "saved again")
    again = replace(settings, id=str(tmp_path / "saved again"))
    with pytest.raises(MendableError, match="merged into this base already"):
        merge(again.id, again, tmp_path / "adapter", tmp_path / "twice")
    more, _ = made_up(on_merged, AdapterSection(rank=2, alpha=2))
    more.save_pretrained(tmp_path / "more")
    collapse(tmp_path / "more", tmp_path / "second", on_merged.id)
    assert merge(on_merged.id, on_merged, tmp_path / "second", tmp_path / "two")["layers"] == 16
