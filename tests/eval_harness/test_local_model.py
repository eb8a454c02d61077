"""What a cached answer depends on, and that a model is gone before the next one is loaded."""

from __future__ import annotations

import gc
import shutil
import weakref
from dataclasses import replace

import pytest
import torch
from tiny_llava import build, build_model, build_processor

from eval_harness.local_model import LocalModel
from eval_harness.predictions import model_digest
from mlplora_vlm.attach import AdapterSection, attach
from mlplora_vlm.families.processor import FamilyProcessor
from mlplora_vlm.load import ModelSection, load_model, load_processor


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return str(build(tmp_path_factory.mktemp("base")))


@pytest.fixture
def local(base):
    """(section's choices) → the model in this process."""

    def opened(path=base, **choices):
        settings = ModelSection(path, **{"dtype": "float32", **choices})
        return LocalModel(load_model(path, settings, "cpu").eval(), load_processor(path, settings), "tiny")

    return opened


def logits(model):
    with torch.no_grad():
        return model(input_ids=torch.tensor([[20, 30, 40]])).logits


def test_quantization_constants_count(base, local):
    """Double quantization leaves the 4-bit codes alone, and rounds the scales of layers above 4,096 elements."""
    found = {twice: local(quantization="nf4", double_quantization=twice) for twice in (True, False)}
    layers = [{n: m for n, m in one.model.named_modules() if n.endswith("up_proj")} for one in found.values()]
    for name in layers[0]:
        once, twice = (layer[name].weight for layer in layers)
        assert once.quant_state.shape.numel() > 4096 and torch.equal(once, twice)
    assert not torch.equal(logits(found[True].model), logits(found[False].model))
    assert found[True].weights != found[False].weights and found[True].digest != found[False].digest


@pytest.mark.parametrize(
    "choices",
    [
        {"dtype": "bfloat16"},
        {"attn_implementation": "eager"},
        {"quantization": "int8"},
        {"quantization": "nf4"},
        {"quantization": "nf4", "compute_dtype": "bfloat16"},
    ],
    ids=str,
)
def test_how_a_model_is_loaded_counts(local, choices):
    plain = {key: value for key, value in choices.items() if key == "quantization" and len(choices) > 1}
    assert local(**choices).digest == local(**choices).digest != local(**plain).digest


def test_every_element_and_every_buffer_counts():
    model = build_model(build_processor())
    found = {model_digest(model)}
    for tensor in (model.lm_head.weight.data.view(-1), *(buffer.view(-1) for buffer in model.buffers())):
        for place in (1, -1):
            tensor[place] = 3 if tensor.dtype == torch.bool or not tensor.is_floating_point() else tensor[place] + 0.5
            found.add(model_digest(model))
    assert len(found) == 1 + 2 * (1 + len(list(model.buffers())))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int8, torch.bool, torch.float8_e4m3fn])
def test_odd_sizes_and_offsets_are_hashed(dtype):
    """Of memory that no 64-bit integer begins at, and that none ends with."""
    module = torch.nn.Module()
    module.register_buffer("odd", torch.arange(16).to(dtype)[1:14])
    before = model_digest(module)
    module.odd = module.odd.clone()
    assert model_digest(module) == before
    module.odd[5] = 0
    assert model_digest(module) != before


def test_configuration_versions_template_and_tokenizer_count(local, monkeypatch):
    model, processor = build_model(build_processor()), build_processor()

    def digest():
        return LocalModel(model, processor, "tiny").digest

    before = digest()
    found = [before]
    model.config.text_config.rms_norm_eps *= 2
    found.append(digest())
    model.generation_config.eos_token_id = [1, 2]
    found.append(digest())
    processor.stock.chat_template += " "
    found.append(digest())
    processor.tokenizer.add_tokens(["purple"])
    model.resize_token_embeddings(len(processor.tokenizer))
    found.append(digest())
    processor.image_processor.do_normalize = False
    found.append(digest())
    processor = FamilyProcessor(processor.stock, replace(processor.card, template_options={"think": False}))
    found.append(digest())
    monkeypatch.setattr("eval_harness.local_model.versions", lambda packages: dict.fromkeys(packages, "0"))
    found.append(digest())
    assert len(set(found)) == len(found)


def test_an_adapter_s_scale_counts():
    found = set()
    for alpha in (4, 8):
        torch.manual_seed(0)
        tuned, _ = attach(build_model(build_processor()), AdapterSection(rank=2, alpha=alpha))
        one = LocalModel(tuned, build_processor(), "tiny")
        found.add((one.weights, one.digest))
    assert len({weights for weights, _ in found}) == 1 and len(found) == 2


def test_the_folder_does_not_count(base, local, tmp_path):
    copy = shutil.copytree(base, tmp_path / "copy")
    assert local().digest == local(str(copy)).digest


def test_a_model_is_gone_before_the_next_is_loaded(base, tmp_path, monkeypatch):
    from eval_harness import models
    from recipes.__main__ import main

    before, loaded = [], models._local

    def load(word, settings):
        gc.collect()
        assert [one() for one in before] == [None] * len(before), "two models at once"
        found = loaded(word, settings)
        before.append(weakref.ref(found.model))
        return found

    monkeypatch.setattr(models, "_local", load)
    other = build(tmp_path / "other", seed=1)
    words = ["--tasks", "shapes_test", "--limit", "3", "--dtype", "float32", "--out", str(tmp_path / "out")]
    assert main(["evaluate", base, str(other), base + "@nf4", *words]) == 0
    assert len(before) == 3
