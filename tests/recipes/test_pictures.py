"""What pictures cost is counted on the families' real processors, with the settings that models are published with."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from data_prep.collate import PromptCollator
from data_prep.demo.tiny import FAMILIES, tiny_family
from data_prep.demo.tiny.build import build, build_model, build_processor
from data_prep.example import Example
from mlplora_vlm.activation_bytes import TowerInput
from mlplora_vlm.errors import MendableError
from mlplora_vlm.families.published import published_config, published_ids, published_processor
from mlplora_vlm.load import ModelSection
from recipes.pictures import REFERENCE, offline_processor, picture_costs, tower_input

PHOTO = (640, 480)
KNOWN = {  # model: (tokens of a picture of 640 x 480, positions in the tower, how many attend to each other)
    "llava-hf/llava-1.5-7b-hf": (576, 577, 577),  # 24 x 24 patches, and the class token
    "llava-hf/llava-v1.6-mistral-7b-hf": (576 + 36 * 48 + 36, 5 * 577, 577),  # 2 x 2 tiles, 12 of 48 rows are padding
    "llava-hf/llava-onevision-qwen2-7b-ov-hf": (729 + 40 * 54 + 40, 5 * 730, 730),  # 27 x 27 patches a tile
    "Qwen/Qwen2.5-VL-7B-Instruct": (23 * 17, 4 * 23 * 17 + 1, 4 * 23 * 17 + 1),  # 28 pixels a token
    "Qwen/Qwen3-VL-8B-Instruct": (20 * 15, 4 * 20 * 15 + 1, 4 * 20 * 15 + 1),  # 32 pixels a token
    "OpenGVLab/InternVL3-8B-hf": (13 * 256 + 2, 13 * 1025, 1025),  # 4 x 3 tiles and the whole, begin and end
    "google/gemma-3-4b-it": (256 + 6, 4097, 4097),  # 64 x 64 patches; begin, end and line breaks
    "google/paligemma2-3b-pt-448": (1024, 1025, 1025),
    "HuggingFaceTB/SmolVLM2-2.2B-Instruct": (None, 13 * 730, 730),  # 4 x 3 squares and the whole, 27 x 27 patches each
    "meta-llama/Llama-3.2-11B-Vision-Instruct": (1, 4 * 1601, 4 * 1601),  # four tiles, each with its class token
}


def config_of(name: str) -> Any:
    config = published_config(name)
    assert config is not None
    return config


def test_every_published_processor_is_known() -> None:
    assert set(KNOWN) == {name for name in published_ids() if published_processor(name)}


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_a_photograph_costs_what_the_model_says(name: str) -> None:
    tokens, positions, attended = KNOWN[name]
    config, section = config_of(name), ModelSection(id=name)
    processor = offline_processor(section, config)
    assert processor is not None
    assert tower_input(processor, config, PHOTO) == TowerInput(positions, attended)
    costs = picture_costs(section, config, max_length=16_384)
    assert set(costs.tokens) == set(REFERENCE) and costs.tower is not None
    assert costs.tower.positions >= positions
    assert tokens is None or costs.tokens[PHOTO] == tokens


@pytest.mark.parametrize("name", FAMILIES)
def test_positions_are_what_the_tower_computes(name: str) -> None:
    """Measured at its first adapted layer; a class token may be counted for nothing, padding of tiles left out."""
    processor = build_processor(tiny_family(name))
    model = build_model(tiny_family(name), processor)
    first = next(module for path, module in model.named_modules() if re.fullmatch(processor.card.vision, path))
    rows = []
    first.register_forward_pre_hook(lambda module, inputs: rows.append(inputs[0].numel() // inputs[0].shape[-1]))
    grey = Image.new("RGB", PHOTO, (128, 128, 128))
    batch = PromptCollator(processor)([Example("grey", (grey,), "what is it?", "", (), "test")])
    with torch.no_grad():
        model(**batch)
    assert 0.6 * sum(rows) <= tower_input(processor, model.config, PHOTO).positions <= 1.25 * sum(rows)


def test_the_bound_is_kept_and_the_tower_shrinks_with_it() -> None:
    name = "Qwen/Qwen2.5-VL-7B-Instruct"
    config, section = config_of(name), ModelSection(id=name)
    free, bound = (
        picture_costs(replace(section, picture_tokens=tokens), config, max_length=2048) for tokens in (None, 256)
    )
    assert free.tokens[(2048, 1536)] == 4015 and max(bound.tokens.values()) <= 256
    assert free.tower is not None and bound.tower is not None
    assert 0.9 * 4 * 2048 < free.tower.positions <= 4 * 2048  # the costliest picture that fits, not the costliest
    assert 0.9 * 4 * 256 < bound.tower.positions <= 4 * 256 + 1


def test_a_picture_that_leaves_no_room_is_refused_with_the_cure() -> None:
    onevision, llava = "llava-hf/llava-onevision-qwen2-7b-ov-hf", "llava-hf/llava-1.5-7b-hf"
    with pytest.raises(MendableError, match=r"data\.max_length 700.*\n.*\n.*model\.picture_tokens below 700"):
        picture_costs(ModelSection(id=onevision), config_of(onevision), max_length=700)
    with pytest.raises(MendableError, match="576 tokens long") as refused:
        picture_costs(ModelSection(id=llava), config_of(llava), max_length=576)
    assert "picture_tokens" not in str(refused.value)  # all its pictures cost the same
    with pytest.raises(MendableError, match="at least 576"):
        picture_costs(ModelSection(id=llava, picture_tokens=100), config_of(llava), max_length=768)


def test_a_folder_brings_its_own_processor(tmp_path: Path) -> None:
    from transformers import AutoConfig

    folder = build(tmp_path / "model", tiny_family("qwen2_5_vl"))
    config, section = AutoConfig.from_pretrained(folder), ModelSection(id=str(folder))
    assert picture_costs(section, config, max_length=256).tokens[PHOTO] == 12
    (folder / "processor_config.json").unlink()
    (folder / "tokenizer.json").unlink()
    assert picture_costs(section, config, max_length=256).tower is None
