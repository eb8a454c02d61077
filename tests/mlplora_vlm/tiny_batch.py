"""A batch for the tiny LLaVA, which the tests of loading and merging share."""

from __future__ import annotations

import torch


def batch() -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 300, (3, 12), generator=random)
    ids[:, 2:6] = 4  # <image>
    labels = torch.where(torch.arange(12) > 8, ids, -100)
    pixels = torch.randn(3, 3, 28, 28, generator=random)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels, "labels": labels}
