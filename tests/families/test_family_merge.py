"""Proof 5: adapter/ and merged/ are the trained model, in stock libraries too; padding changes no answer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_families import FAMILIES, Family, example, family

from data_prep.collate import PromptCollator, TrainCollator
from eval_harness.generate import greedy
from mlplora_vlm.attach import attach
from mlplora_vlm.collapse import collapse
from mlplora_vlm.files import read_json
from mlplora_vlm.merge import merge

BOUND, PADDED_BOUND = 1e-5, 1e-4
ROWS = [
    example(0, (50, 33), answer="a red circle"),
    example(1, (97, 41), question="what shape is present? is there a red shape? is it blue?", answer="yes"),
    example(2, (20, 64), question="which?", answer="no, none"),
]


def tuned_model(tiny: Family):
    """The base with an adapter of random numbers, as if it were trained."""
    model, _ = attach(tiny.model(), tiny.adapter)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(scope="session")
def stock(request, tmp_path_factory) -> dict:
    """Errors of every family that is asked for, found by one process without the project."""
    root = tmp_path_factory.mktemp("merged")
    asked = {item.callspec.params["tiny"] for item in request.session.items if item.path == Path(__file__)}
    for name in FAMILIES:
        if name in asked:
            written(family(name), root / name)
    result = root / "result.json"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-I", str(Path(__file__).with_name("family_stock_process.py")), str(root), str(result)],
        cwd=root,
        env=environment | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert result.exists(), done.stderr[-3000:]
    return read_json(result)


def written(tiny: Family, folder: Path) -> None:
    """base/, adapter/, merged/ and what the live model says to a batch."""
    folder.mkdir()
    (folder / "base").symlink_to(tiny.folder)
    model = tuned_model(tiny)
    batch = TrainCollator(tiny.processor)(ROWS)
    del batch["labels"]
    with torch.inference_mode():
        wanted = model(**batch).logits
    save_file({name: t.contiguous() for name, t in batch.items()} | {"wanted": wanted}, folder / "batch.safetensors")
    model.save_pretrained(folder / "trained")
    collapse(folder / "trained", folder / "adapter", str(tiny.folder))
    merge(str(tiny.folder), tiny.section, folder / "adapter", folder / "merged")


@pytest.mark.slow
def test_stock_libraries_load_the_same_model(tiny: Family, stock: dict):
    found = stock[tiny.card.model_type]
    assert "error" not in found, found["error"]
    assert found["adapter"] <= BOUND and found["merged"] <= BOUND
    assert found["class"] == type(tiny.model()).__name__


def test_padding_changes_no_answer(tiny: Family):
    model, collate = tuned_model(tiny), PromptCollator(tiny.processor)
    decoding = greedy(model, tiny.processor, 5)
    decoding.eos_token_id = None  # random models end at once
    options = {"generation_config": decoding, "output_logits": True, "return_dict_in_generate": True}
    batch = collate(ROWS)
    assert not batch["attention_mask"].all(), "these rows need no padding"
    with torch.inference_mode():
        together = model.generate(**batch, **options)
        for number, row in enumerate(ROWS):
            prompt = collate([row])
            alone = model.generate(**prompt, **options)
            said = [
                output.sequences[i, inputs["input_ids"].shape[1] :]
                for output, i, inputs in ((together, number, batch), (alone, 0, prompt))
            ]
            for step, (left, right) in enumerate(zip(*said, strict=True)):
                logits = [together.logits[step][number], alone.logits[step][0]]
                assert (logits[0] - logits[1]).abs().max() <= PADDED_BOUND * logits[1].abs().max()
                best = logits[1].topk(2).values
                if left != right:
                    assert best[0] - best[1] <= PADDED_BOUND * logits[1].abs().max()
                    break
