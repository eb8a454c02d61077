"""Loading, merging and verifying on the tiny LLaVA: 4-bit layers by type, and a verify that bites."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_batch import batch
from tiny_llava import build

from mlplora_vlm import stock_check
from mlplora_vlm import verify as verification
from mlplora_vlm.attach import AdapterSection, attach
from mlplora_vlm.collapse import collapse
from mlplora_vlm.errors import MendableError
from mlplora_vlm.load import ModelSection, load_model, load_tuned
from mlplora_vlm.merge import merge
from mlplora_vlm.verify import LOGITS, answer_logits, read_reference, save_reference, verify_logits


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """The very script of the fresh process (tests/families/test_verify.py starts one), without another start-up."""
    monkeypatch.setattr(verification, "_in_fresh_process", stock_check.main)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return str(build(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(params=["none", "nf4"])
def written(request, base, tmp_path):
    """A made-up adapter, collapsed and merged, with the live model's reference logits."""
    settings = ModelSection(id=base, dtype="float32", quantization=request.param)
    model, counts = attach(load_model(base, settings), AdapterSection(rank=3, alpha=6))
    assert counts == {"language": 14, "projector": 2}
    torch.manual_seed(1)
    for name, p in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(p, std=0.3)
    model.eval()
    save_reference(model, [batch()], tmp_path / "reference.safetensors")
    model.save_pretrained(tmp_path / "trained")
    collapse(tmp_path / "trained", tmp_path / "adapter", base)
    facts = merge(base, settings, tmp_path / "adapter", tmp_path / "merged")
    assert facts["layers"] == 16
    return settings, tmp_path


def verify(settings, folder):
    written = (folder / "adapter", folder / "merged", folder / "reference.safetensors")
    return verify_logits(settings.id, settings, *written)


def test_collapsed_and_merged_models_say_what_the_live_one_said(written):
    settings, folder = written
    facts = verify(settings, folder)
    assert facts["collapse_error"] <= 1e-5 and facts["merge_error"] <= 1e-5
    assert facts["answer_tokens"] == 9
    untuned = answer_logits(load_model(settings.id, settings).eval(), batch())
    wanted = read_reference(folder / "reference.safetensors")[0][LOGITS]
    assert (untuned - wanted).norm() / wanted.norm() > 0.1, "the adapter must matter, or nothing is shown"


@pytest.mark.parametrize("corrupt", ["layers.1.mlp.up_proj", "multi_modal_projector.linear_2"])
def test_verify_fails_on_one_wrong_tensor(written, base, corrupt):
    settings, folder = written
    file = folder / "merged" / "model.safetensors"
    tensors, original = load_file(file), load_file(f"{base}/model.safetensors")
    name = next(name for name in tensors if corrupt in name and name.endswith("weight"))
    tensors[name] = original[name] if settings.quantization == "none" else tensors[name] * 1.01
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(MendableError, match="after merge logits differ"):
        verify(settings, folder)


def test_only_language_layers_are_four_bit(base):
    from bitsandbytes.nn import Linear4bit

    model = load_model(base, ModelSection(id=base, dtype="float32", quantization="nf4"))
    four_bit = [name for name, module in model.named_modules() if isinstance(module, Linear4bit)]
    assert len(four_bit) == 14
    assert all(name.startswith("model.language_model.layers.") for name in four_bit)


def test_a_model_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(MendableError, match="cannot be loaded"):
        load_model("/no/such/folder", ModelSection(id="/no/such/folder"))


def test_a_folder_that_holds_no_model_is_named(tmp_path):
    with pytest.raises(MendableError, match=r"no config\.json"):
        load_model(str(tmp_path), ModelSection(id=str(tmp_path)))


def test_a_part_that_matches_nothing_is_an_error(base):
    from dataclasses import replace

    from mlplora_vlm.attach import targets
    from mlplora_vlm.families.llava import CARD

    model = load_model(base, ModelSection(id=base))
    with pytest.raises(MendableError, match="'projector'"):
        targets(model, AdapterSection(), replace(CARD, projector="model.bridge"))


def test_vision_layers_are_adapted_only_when_asked(base):
    model, counts = attach(load_model(base, ModelSection(id=base)), AdapterSection(on=("vision",)))
    assert set(counts) == {"vision"} and counts["vision"] >= 2 * 6
    assert all("vision_tower" in name for name, p in model.named_parameters() if p.requires_grad)


def test_tuned_model_loads_from_a_folder(written):
    settings, folder = written
    tuned = load_tuned(settings.id, folder / "adapter", settings)
    assert not tuned.training and sum(hasattr(m, "lora_A") for m in tuned.modules()) == 16
