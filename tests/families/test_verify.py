"""verify bites: one wrong tensor, a lost projector, another chat template, other pixel limits; each is named."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_family_merge import ROWS, tuned_model
from tiny_families import family

from data_prep.collate import TrainCollator
from mlplora_vlm import stock_check
from mlplora_vlm import verify as verification
from mlplora_vlm.collapse import collapse
from mlplora_vlm.errors import MendableError
from mlplora_vlm.merge import MergeSection, merge


def rebuild(processor):
    return [TrainCollator(processor)(ROWS)]


@pytest.fixture(scope="module", params=["llava", "qwen2_5_vl"])
def written(request, tmp_path_factory):
    """adapter/, merged/ and the reference of a made-up training; as a run leaves them."""
    tiny, folder = family(request.param), tmp_path_factory.mktemp(request.param)
    model = tuned_model(tiny)
    verification.save_reference(model, rebuild(tiny.processor), folder / "reference.safetensors", tiny.processor)
    model.save_pretrained(folder / "trained")
    collapse(folder / "trained", folder / "adapter", str(tiny.folder))
    tiny.processor.save_pretrained(folder / "adapter")
    merge(str(tiny.folder), tiny.section, folder / "adapter", folder / "merged")
    return SimpleNamespace(tiny=tiny, folder=folder)


@pytest.fixture
def copied(written, tmp_path, monkeypatch):
    """A copy to tamper with; logits are computed in this process, by the same script."""
    monkeypatch.setattr(verification, "_in_fresh_process", stock_check.main)
    for name in ("adapter", "merged"):
        shutil.copytree(written.folder / name, tmp_path / name)
    return SimpleNamespace(tiny=written.tiny, folder=tmp_path, reference=written.folder / "reference.safetensors")


def verify(copied, check=verification.verify):
    tiny, folder = copied.tiny, copied.folder
    given = (str(tiny.folder), tiny.section, folder / "adapter", folder / "merged", copied.reference)
    return check(*given, *((rebuild,) if check is verification.verify else ()))


def changed_tensor(folder, part, change):
    file = folder / "merged" / "model.safetensors"
    tensors = load_file(file)
    name = next(name for name in sorted(tensors) if part in name and name.endswith("weight"))
    tensors[name] = change(name, tensors[name])
    save_file(tensors, file, {"format": "pt"})
    return name


def test_what_was_written_passes(copied):
    facts = verify(copied)
    assert facts["collapse_error"] <= 1e-5 and facts["merge_error"] <= 1e-5 and facts["faithful"]
    assert facts["tensors"] == len(load_file(copied.folder / "merged" / "model.safetensors"))


def test_one_wrong_tensor_is_named_and_seen_in_the_logits(copied):
    name = changed_tensor(copied.folder, "down_proj", lambda _, tensor: 1.01 * tensor)
    with pytest.raises(MendableError, match=rf"1 merged tensors .*{name}"):
        verify(copied)
    with pytest.raises(MendableError, match="after merge logits differ"):
        verify(copied, verification.verify_logits)


def test_a_flipped_bit_too_small_for_the_logits_is_named(copied):
    def flipped(_, tensor):
        bits = tensor.view(torch.int32)
        bits[0, 0] ^= 1
        return bits.view(torch.float32)

    name = changed_tensor(copied.folder, "o_proj", flipped)
    with pytest.raises(MendableError, match=name):
        verify(copied)


def test_a_lost_projector_is_named(copied):
    base = load_file(copied.tiny.folder / "model.safetensors")
    part = "multi_modal_projector" if copied.tiny.card.model_type == "llava" else "merger.mlp"
    name = changed_tensor(copied.folder, part, lambda name, _: base[name])
    with pytest.raises(MendableError, match=name):
        verify(copied)
    with pytest.raises(MendableError, match="after merge logits differ"):
        verify(copied, verification.verify_logits)


@pytest.mark.parametrize("folder", ["adapter", "merged"])
def test_another_chat_template_is_named(copied, folder):
    file = copied.folder / folder / "chat_template.jinja"
    file.write_text("Dear model! " + file.read_text())
    with pytest.raises(MendableError, match=f"{folder}/ does not ask as training did: the chat template"):
        verify(copied)


@pytest.mark.parametrize("folder", ["adapter", "merged"])
def test_other_pixel_limits_are_named(copied, folder):
    file = copied.folder / folder / "processor_config.json"
    config = json.loads(file.read_text())
    pictures = config["image_processor"]
    if copied.tiny.card.model_type == "llava":
        pictures["size"] = {"height": 56, "width": 56}
    else:
        pictures["size"]["longest_edge"] *= 4  # more than any of the recorded pictures has
    file.write_text(json.dumps(config))
    with pytest.raises(MendableError, match=f"{folder}/ does not ask as training did: the picture settings .size: .*"):
        verify(copied)


def test_other_pixels_are_seen_where_nothing_tells_the_settings(copied, tmp_path):
    bare = load_file(copied.reference)
    save_file(bare, tmp_path / "bare.safetensors")
    file = copied.folder / "merged" / "processor_config.json"
    config = json.loads(file.read_text())
    config["image_processor"]["image_mean"] = [0.5, 0.5, 0.5]
    file.write_text(json.dumps(config))
    copied.reference = tmp_path / "bare.safetensors"
    with pytest.raises(MendableError, match="pixel_values has other values"):
        verify(copied)


def test_another_tokenizer_is_named(copied):
    file = copied.folder / "merged" / "tokenizer.json"
    tokenizer = json.loads(file.read_text())
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:3]
    file.write_text(json.dumps(tokenizer))
    with pytest.raises(MendableError, match=r"merged/ does not ask as training did: .*tokenizer"):
        verify(copied)


def test_merged_into_the_original_weights_the_error_is_stated(written, tmp_path, monkeypatch):
    monkeypatch.setattr(verification, "_in_fresh_process", stock_check.main)
    tiny, choice = written.tiny, MergeSection("original")
    four_bit = replace(tiny.section, quantization="nf4")
    model = tuned_model(replace(tiny, section=four_bit))
    reference, path = tmp_path / "reference.safetensors", str(tiny.folder)
    verification.save_reference(model, rebuild(tiny.processor), reference, tiny.processor)
    model.save_pretrained(tmp_path / "trained")
    collapse(tmp_path / "trained", tmp_path / "adapter", path)
    found = {}
    for name, chosen in (("dequantized", MergeSection()), ("original", choice)):
        facts = merge(path, four_bit, tmp_path / "adapter", tmp_path / name, chosen)
        assert facts["base"] == name
        given = (path, four_bit, tmp_path / "adapter", tmp_path / name, reference, chosen)
        found[name] = verification.verify_logits(*given)
    assert found["dequantized"]["faithful"] and found["dequantized"]["trained_error"] <= 1e-5
    assert not found["original"]["faithful"] and found["original"]["trained_error"] > 1e-2
    assert found["original"]["merge_error"] <= 1e-5, "it is exactly what the option says"


@pytest.mark.slow
def test_the_fresh_process_says_the_same_and_a_broken_folder_is_told(written, tmp_path):
    given = (str(written.tiny.folder), written.tiny.section, written.folder / "adapter")
    facts = verification.verify_logits(*given, written.folder / "merged", written.folder / "reference.safetensors")
    assert facts["merge_error"] <= 1e-5 and facts["class"] == type(written.tiny.model()).__name__
    (tmp_path / "merged").mkdir()
    with pytest.raises(MendableError, match="stock transformers cannot load"):
        verification.verify_logits(*given, tmp_path / "merged", written.folder / "reference.safetensors")


def test_no_more_than_the_first_label_tokens_of_a_batch_are_recorded(written):
    """At a real vocabulary, all label tokens of long conversations would take gigabytes."""
    tiny = written.tiny
    (batch,) = rebuild(tiny.processor)
    model = tiny.model()
    everything = batch | {"labels": batch["input_ids"].clone()}
    got = verification.answer_logits(model, everything)
    assert batch["input_ids"].numel() > verification.RECORDED + len(batch["input_ids"])
    assert len(got) == verification.RECORDED
    with torch.inference_mode():
        logits = model.eval()(**{key: value for key, value in batch.items() if key != "labels"}).logits
    assert torch.equal(got, logits[:, :-1].flatten(0, 1)[: verification.RECORDED].float())
