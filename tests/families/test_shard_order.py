"""A base in any number of files, its tensors in any of them, merges into the same tensors as one file."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_families import family

from mlplora_vlm.attach import attach
from mlplora_vlm.base_files import INDEX, WEIGHTS
from mlplora_vlm.merge import merge


def sharded(folder: Path, out: Path, files: int) -> Path:
    """The base with its tensors dealt to ``files`` files in the reverse order of their names."""
    shutil.copytree(folder, out, ignore=shutil.ignore_patterns(WEIGHTS))
    tensors = load_file(folder / WEIGHTS)
    names, place = sorted(tensors, reverse=True), {}
    for number in range(files):
        file = f"model-{number + 1:05d}-of-{files:05d}.safetensors"
        part = {name: tensors[name] for name in names[number::files]}
        save_file(part, out / file, {"format": "pt"})
        place |= dict.fromkeys(part, file)
    size = sum(tensor.nbytes for tensor in tensors.values())
    (out / INDEX).write_text(json.dumps({"metadata": {"total_size": size}, "weight_map": place}))
    return out


@pytest.mark.parametrize("quantization", ["none", "nf4"])
@pytest.mark.parametrize("name", ["llava", "molmo2"])  # Molmo 2 makes one embedding of two tensors of its files
def test_where_a_tensor_lies_changes_nothing(name, quantization, tmp_path):
    tiny = family(name)
    model, _ = attach(tiny.model(), tiny.adapter)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    model.save_pretrained(tmp_path / "adapter")
    merged = {}
    each = len(load_file(tiny.folder / WEIGHTS))  # one file a tensor: every partner is apart, and the last comes first
    for files in (1, 3, each):
        base = tiny.folder if files == 1 else sharded(tiny.folder, tmp_path / f"base-{files}", files)
        section = replace(tiny.section, id=str(base), quantization=quantization)
        merge(str(base), section, tmp_path / "adapter", tmp_path / f"merged-{files}")
        written = sorted((tmp_path / f"merged-{files}").glob("*.safetensors"))
        assert len(written) == files
        merged[files] = {key: tensor for file in written for key, tensor in load_file(file).items()}
    for files in (3, each):
        assert merged[files].keys() == merged[1].keys()
        assert all(torch.equal(merged[files][key], merged[1][key]) for key in merged[1])
