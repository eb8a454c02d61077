"""Proof 4: under NF4 the language model's layers are 4-bit, and nothing else is."""

from __future__ import annotations

import re

import torch
from bitsandbytes.nn import Linear4bit
from tiny_families import example

from data_prep.collate import TrainCollator
from mlplora_vlm.attach import attach


def test_which_modules_are_four_bit(tiny):
    model = tiny.model(quantization="nf4")
    wanted = {
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and re.fullmatch(tiny.card.language, name)
        and not any(re.match(rf"(?:{path})(?:\.|$)", name) for path in tiny.card.unquantized)
    }
    assert wanted == {name for name, module in model.named_modules() if isinstance(module, Linear4bit)} != set()
    tuned, _ = attach(model, tiny.adapter)
    loss = tuned(**TrainCollator(tiny.processor)([example(0, (50, 33)), example(1)])).loss
    loss.backward()
    gradients = [p.grad for n, p in tuned.named_parameters() if p.requires_grad and ".lora_B." in n]
    assert loss.isfinite() and all(g is not None and g.isfinite().all() for g in gradients)
    assert any(g.any() for g in gradients)
