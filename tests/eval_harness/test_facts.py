"""The method's name says the kind, the generator, its form, B's own learning rate and what is trained in full."""

from __future__ import annotations

import pytest

from eval_harness.facts import method, training


@pytest.mark.parametrize(
    ("adapter", "name"),
    [
        ({"kind": "lora", "generated": True}, "OP-LoRA"),
        ({"kind": "dora", "generated": True, "generator": {"form": "exact"}}, "OP-DoRA"),
        ({"kind": "lora", "generated": True, "generator": {"form": "linear"}}, "OP-LoRA (linear)"),
        ({"kind": "lora", "generated": False, "generator": {"form": "linear"}}, "LoRA"),
        ({"kind": "lora", "generated": False, "b_lr_ratio": 16.0}, "LoRA+"),
        ({"kind": "rslora", "generated": True, "b_lr_ratio": 16.0}, "OP-rsLoRA+"),
        ({"kind": "pissa", "generated": False, "b_lr_ratio": 1.0, "full": []}, "PiSSA"),
        ({"kind": "vera", "generated": True}, "OP-VeRA"),
        ({"kind": "lora", "generated": True, "full": ["projector"]}, "OP-LoRA and projector in full"),
        ({}, "adapter"),
    ],
)
def test_method(adapter, name):
    assert method({"recipe": {"resolved": {"adapter": adapter}}}) == name


def test_numbers_that_are_trained_in_full_are_told_where_there_are_any():
    for full, told in ((630, True), (0, False)):
        rows = dict(training({"parameters": {"trained": 10, "full": full, "generator": 0}}))
        assert ("Parameters, trained in full" in rows) == told
        assert rows["Parameters, adapter"] == "10"
