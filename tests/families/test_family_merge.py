"""Proof 5: adapter/ and merged/ are the trained model, in stock libraries too; padding changes no answer."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_families import FAMILIES, Family, example, family

from data_prep.collate import PromptCollator, TrainCollator
from eval_harness.generate import greedy
from mlplora_vlm.attach import attach
from mlplora_vlm.base_files import INDEX
from mlplora_vlm.collapse import collapse
from mlplora_vlm.files import read_json
from mlplora_vlm.load import load_model
from mlplora_vlm.merge import MARK, merge

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
    mine = [item for item in request.session.items if item.path == Path(__file__)]
    asked = {item.callspec.params["tiny"] for item in mine if "stock" in item.fixturenames}
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


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """A family's base in several files, under its published names; made once."""
    made: dict[str, Path] = {}

    def of(tiny: Family) -> Path:
        if tiny.card.model_type not in made:
            folder = made[tiny.card.model_type] = tmp_path_factory.mktemp(tiny.card.model_type)
            tiny.model().save_pretrained(folder, max_shard_size="60KB")
            tiny.processor.save_pretrained(folder)
        return made[tiny.card.model_type]

    return of


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Names and bits."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_file_by_file_is_pefts_merge_of_the_whole_model(tiny: Family, shards, tmp_path):
    base, model = shards(tiny), tuned_model(tiny)
    model.save_pretrained(tmp_path / "adapter")
    facts = merge(str(base), replace(tiny.section, id=str(base)), tmp_path / "adapter", tmp_path / "merged")
    model.merge_and_unload(safe_merge=True).save_pretrained(tmp_path / "whole")
    merged, index = tensors(tmp_path / "merged"), [read_json(f / INDEX) for f in (base, tmp_path / "merged")]
    assert same(merged, tensors(tmp_path / "whole"))
    assert index[0] == index[1] and len(set(index[0]["weight_map"].values())) > 1
    for file in set(index[0]["weight_map"].values()):
        names = {name for name, place in index[0]["weight_map"].items() if place == file}
        assert load_file(tmp_path / "merged" / file).keys() == names
    assert index[1]["metadata"]["total_size"] == sum(tensor.nbytes for tensor in merged.values())
    assert facts["full"] == len(tiny.adapter.full) and facts["layers"] > 0
    config, was = (read_json(folder / "config.json") for folder in (tmp_path / "merged", base))
    assert config.pop(MARK)["sha256"] and config == was, "the base's, but for the mark"


@pytest.mark.slow
def test_four_bit_weights_are_those_that_loading_makes(tiny: Family, shards, tmp_path):
    base = shards(tiny)
    section = replace(tiny.section, id=str(base), quantization="nf4")
    model = load_model(str(base), section)
    idle, _ = attach(load_model(str(base), section), tiny.adapter)
    for name, parameter in idle.named_parameters():
        if "lora_B" in name:  # the smallest number there is: as a product with A it is 0
            parameter.data.fill_(1e-45)
    idle.save_pretrained(tmp_path / "idle")
    merge(str(base), section, tmp_path / "idle", tmp_path / "merged")
    four_bit = sum(type(module).__name__ == "Linear4bit" for module in model.modules())
    model.dequantize().save_pretrained(tmp_path / "whole")
    merged, was = tensors(tmp_path / "merged"), tensors(base)
    assert same(merged, tensors(tmp_path / "whole"))
    changed = [name for name in was if not torch.equal(was[name], merged[name])]
    assert 0 < len(changed) <= four_bit, "fewer where the files have several layers fused"


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
