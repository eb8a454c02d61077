"""Quantized layers of any width merge exactly: weights that blocks of 64 do not divide, and more than 256 blocks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from data_prep.demo.tiny.build import build
from data_prep.demo.tiny.llava import TINY
from mlplora_vlm.attach import AdapterSection, attach
from mlplora_vlm.load import ModelSection, load_model
from mlplora_vlm.merge import merge

WIDTHS = [(24, 33), (144, 152)]
"""(hidden, MLP): 24 x 33 = 792 weights are 12.4 blocks; 144 x 152 = 21,888 are 342 blocks, whose scales are two."""


@pytest.mark.parametrize("quantization", ["nf4", "fp4", "int8"])
@pytest.mark.parametrize(("hidden", "mlp"), WIDTHS)
def test_a_merge_is_the_loaded_model_with_the_adapter_in_it(hidden, mlp, quantization, tmp_path):
    text = {**TINY.config["text_config"], "hidden_size": hidden, "intermediate_size": mlp, "num_hidden_layers": 1}
    base = str(build(tmp_path / "base", replace(TINY, config={**TINY.config, "text_config": text})))
    section = ModelSection(id=base, dtype="float32", quantization=quantization)
    loaded = load_model(base, section)
    model, _ = attach(load_model(base, section), AdapterSection(rank=3, on=("language",)))
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.1)
    model.save_pretrained(tmp_path / "adapter")
    merge(base, section, tmp_path / "adapter", tmp_path / "merged")
    merged = load_file(tmp_path / "merged" / "model.safetensors")
    plain = dict(loaded.dequantize().named_modules())
    adapter = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    layers = [name.removesuffix(".lora_A.weight") for name in adapter if name.endswith(".lora_A.weight")]
    assert len(layers) == 7
    for layer in layers:
        path = layer.removeprefix("base_model.model.")
        weight = plain[path].weight
        added = 32 / 3 * adapter[f"{layer}.lora_B.weight"].double() @ adapter[f"{layer}.lora_A.weight"].double()
        (found,) = [t for name, t in merged.items() if name.endswith(path.split("language_model.")[-1] + ".weight")
                    and t.shape == weight.shape and "vision" not in name]  # fmt: skip
        torch.testing.assert_close(found.double(), weight.double() + added, rtol=1e-5, atol=1e-6)
