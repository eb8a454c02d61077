"""Checkpointing changes no gradient, and does not make a frozen vision tower run backward."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_batch import batch
from tiny_llava import build
from transformers import TrainingArguments

from mlplora_vlm.attach import AdapterSection, attach
from mlplora_vlm.load import ModelSection, load_model
from mlplora_vlm.trainer import GeneratedAdapterTrainer


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build(tmp_path_factory.mktemp("tiny")))


def gradients(
    base: str, out: Path, on: tuple[Any, ...], recompute: bool
) -> tuple[dict[str, torch.Tensor | None], list[bool]]:
    """What is trained has these gradients; and of every output of the tower whether it asks for one."""
    torch.manual_seed(0)
    model, _ = attach(load_model(base, ModelSection(id=base, dtype="float32")), AdapterSection(rank=3, on=on))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                parameter.normal_(std=0.1)
    arguments = TrainingArguments(
        output_dir=str(out),
        use_cpu=True,
        activation_checkpointing=recompute,
        activation_checkpointing_kwargs={"use_reentrant": False},
        report_to="none",
    )
    GeneratedAdapterTrainer(model=model, args=arguments)
    if recompute:  # as the Trainer does when it starts
        model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    asked: list[bool] = []
    tower = [m for n, m in model.named_modules() if "vision_tower" in n and n.endswith(("embeddings", "mlp"))]
    for module in tower:
        module.register_forward_hook(lambda _, __, output: asked.append(output.requires_grad))
    assert len(tower) >= 3
    model.train()
    model(**batch()).loss.backward()
    return {n: p.grad for n, p in model.named_parameters() if p.requires_grad}, asked


@pytest.mark.parametrize("on", [("language", "projector"), ("language",), ("vision",)])
def test_checkpointing_changes_no_gradient_and_wakes_no_tower(base: str, tmp_path: Path, on: tuple[Any, ...]) -> None:
    plain, _ = gradients(base, tmp_path, on, recompute=False)
    recomputed, asked = gradients(base, tmp_path, on, recompute=True)
    assert plain.keys() == recomputed.keys()
    learnt = {
        name: gradient for name, gradient in plain.items() if gradient is not None
    }  # LLaVA drops a layer's output
    assert learnt.keys() == {name for name, gradient in recomputed.items() if gradient is not None}
    assert len(learnt) >= len(plain) / 2 and all(gradient.any() for gradient in learnt.values())
    for name, gradient in learnt.items():
        torch.testing.assert_close(recomputed[name], gradient, rtol=1e-5, atol=1e-7)
    assert asked and any(asked) == ("vision" in on)
