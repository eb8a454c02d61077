"""The schedule that stays, then decays: over the last fifth of the steps."""

from __future__ import annotations

import pytest
import torch
from transformers import TrainingArguments

from mlplora_vlm.trainer import GeneratedAdapterTrainer


def test_warmup_stable_decay(tmp_path):
    model = torch.nn.Linear(2, 2)
    arguments = TrainingArguments(
        output_dir=str(tmp_path), lr_scheduler_type="warmup_stable_decay", warmup_steps=10, learning_rate=0.5,
        max_steps=100, use_cpu=True,
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    scheduler = GeneratedAdapterTrainer(model, arguments).create_scheduler(100, optimizer)
    rates = []
    for _ in range(100):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert rates[0] == 0 and rates[5] == pytest.approx(0.25)
    assert set(rates[10:81]) == {0.5} and rates[81:] == sorted(rates[81:], reverse=True)
    assert rates[90] == pytest.approx(0.25) and rates[-1] < 0.01
