"""Proof 6: an adapter from before the layers were renamed is translated, or refused with both sets of names."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_family_merge import ROWS, tuned_model
from tiny_families import Family

from data_prep.collate import TrainCollator
from mlplora_vlm.adapter_folder import put_on
from mlplora_vlm.attach import AdapterSection, attach
from mlplora_vlm.errors import MendableError
from mlplora_vlm.verify import relative_error


def logits(model, tiny):
    batch = TrainCollator(tiny.processor)(ROWS)
    with torch.inference_mode():
        return model.eval()(**batch).logits


def former(tiny: Family):
    """Today's name of a layer → its former one."""

    def rename(name: str) -> str:
        starts = (once + name.removeprefix(now) for now, once in tiny.card.former if name.startswith(now))
        return next(starts, name)

    return rename


def saved(tiny: Family, folder, model, rename):
    """The model's adapter as an older version would have written it."""
    model.save_pretrained(folder)
    file, config = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    root = "base_model.model."
    tensors = {root + rename(name.removeprefix(root)): tensor for name, tensor in load_file(file).items()}
    save_file(tensors, file, metadata={"format": "pt"})
    values = json.loads(config.read_text())
    layers = {name.removeprefix(root).partition(".lora_")[0] for name in tensors if ".lora_" in name}
    values["target_modules"] = sorted(layers)
    values["modules_to_save"] = [rename(path) for path in values["modules_to_save"] or []] or None
    config.write_text(json.dumps(values))
    return tensors


def test_present_names_load_as_they_are(tiny: Family, tmp_path):
    model = tuned_model(tiny)
    saved(tiny, tmp_path, model, lambda name: name)
    assert relative_error(logits(put_on(tiny.model(), tmp_path), tiny), logits(model, tiny)) <= 1e-6


def test_former_names_are_translated(tiny: Family, tmp_path):
    if not tiny.card.former:
        return  # the family came with the present names
    model = tuned_model(tiny)

    model.save_pretrained(tmp_path / "now")
    tensors = saved(tiny, tmp_path, model, former(tiny))
    now = load_file(tmp_path / "now" / "adapter_model.safetensors").keys()
    assert tensors.keys() == now or not tensors.keys() & now  # all are renamed, or none where the tower alone was
    assert relative_error(logits(put_on(tiny.model(), tmp_path), tiny), logits(model, tiny)) <= 1e-6


def test_a_vision_adapter_is_translated_too(tiny: Family, tmp_path):
    if not tiny.card.former:
        return
    model, _ = attach(tiny.model(), AdapterSection(on=("vision",), rank=2, alpha=4))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.fill_(0.1)

    saved(tiny, tmp_path, model, former(tiny))
    assert relative_error(logits(put_on(tiny.model(), tmp_path), tiny), logits(model, tiny)) <= 1e-6


def test_every_former_name_is_another_one(tiny: Family):
    names = [name for name, _ in tiny.model().named_modules()]
    for now, once in tiny.card.former:
        renamed = [once + name.removeprefix(now) for name in names if name.startswith(now)]
        assert renamed and not set(renamed) & set(names)


def test_strange_names_are_refused_with_both_sets(tiny: Family, tmp_path):
    saved(tiny, tmp_path, tuned_model(tiny), lambda name: f"transformer.{name}")
    with pytest.raises(MendableError) as caught:
        put_on(tiny.model(), tmp_path)
    said = str(caught.value)
    assert "base_model.model.transformer." in said and "the model has" in said and "model." in said
