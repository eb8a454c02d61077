"""What a word on the command line names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tiny_llava
import torch

from data_prep.demo.tiny import build as tiny
from data_prep.demo.tiny import tiny_family
from eval_harness.models import model_name, opened
from mlplora_vlm.attach import AdapterSection, attach
from mlplora_vlm.errors import MendableError
from mlplora_vlm.load import ModelSection, load_model
from mlplora_vlm.merge import merge

SECTION = ModelSection("", dtype="float32")


def saved_adapter(root: Path) -> None:
    """An adapter that changes the model in ``root / "base"``."""
    base = str(root / "base")
    tuned, _ = attach(load_model(base, ModelSection(base, dtype="float32")), AdapterSection(rank=2, alpha=4))
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)
    tuned.save_pretrained(root / "adapter")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A base model, an adapter on it, and both merged."""
    root = tmp_path_factory.mktemp("models")
    base = root / "base"
    tiny_llava.build(base)
    section = ModelSection(str(base), dtype="float32")
    saved_adapter(root)
    tiny_llava.build_processor().save_pretrained(root / "adapter")  # as a run leaves it; no name here tells a family
    merge(str(base), section, root / "adapter", root / "merged")
    return root


def test_base_adapter_merged_and_quantized(folders):
    found, kinds = {}, ("nf4", "fp4", "int8")
    for word in ("base", "adapter", "base+adapter", "merged", *(f"base@{kind}" for kind in kinds)):
        names = "+".join(str(folders / part) for part in word.split("+"))
        with opened(names, SECTION) as answerer:
            found[word] = answerer.describe() | {"kind": type(answerer.model).__name__}
    assert found["base"]["kind"] == found["merged"]["kind"] == "LlavaForConditionalGeneration"
    assert found["adapter"]["kind"].startswith("PeftModel")
    assert found["adapter"]["weights"] == found["base+adapter"]["weights"]
    assert len({one["weights"] for one in found.values()}) == 6
    assert len(found["adapter"]["adapter_sha256"]) == 64 and "adapter" not in found["base"]
    assert all(found[f"base@{kind}"]["quantization"] == kind for kind in kinds)


def test_mistakes_say_what_to_write(folders):
    with pytest.raises(MendableError, match="no adapter") as error, opened(f"{folders / 'base'}+{folders}", SECTION):
        pass
    assert "adapter_config.json" in error.value.fix
    for name in (folders / "nothing", folders / "base" / "config.json"):
        word = f"{folders / 'base'}+{name}"
        with pytest.raises(MendableError, match="there is no adapter in"), opened(word, SECTION):
            pass
        with pytest.raises(MendableError), opened(str(name), SECTION):
            pass
    with pytest.raises(MendableError, match="not named") as error, opened("http://localhost:1/v1", SECTION):
        pass
    assert "#NAME" in error.value.fix


QWEN = tiny_family("qwen2_5_vl")
"""A family whose processor is whole without processor_config.json."""


@pytest.fixture(scope="module")
def qwen(tmp_path_factory) -> Path:
    """A base model and an adapter on it, without a processor."""
    root = tmp_path_factory.mktemp("qwen")
    tiny.build(root / "base", QWEN)
    saved_adapter(root)
    return root


def without_processor(folders: Path, to: Path) -> Path:
    to.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copyfile(folders / "adapter" / name, to / name)
    return to


def as_transformers_4(folder: Path) -> Path:
    """A processor of smaller images and another template, in the files of that version."""
    processor = tiny.build_processor(QWEN)
    processor.image_processor.save_pretrained(folder)
    processor.tokenizer.save_pretrained(folder)
    file = folder / "preprocessor_config.json"
    own = {"image_mean": [0.25, 0.25, 0.25], "processor_class": "Qwen2_5_VLProcessor"}
    file.write_text(json.dumps(json.loads(file.read_text()) | own))
    (folder / "chat_template.jinja").write_text(processor.chat_template + "own")
    return folder


def test_an_adapters_own_processor_is_used_in_the_layout_of_transformers_4_too(qwen, tmp_path):
    adapter = as_transformers_4(without_processor(qwen, tmp_path / "adapter"))
    with opened(str(adapter), SECTION) as answerer:
        processor = answerer.processor
    assert processor.chat_template.endswith("own") and list(processor.image_processor.image_mean) == [0.25] * 3
    with opened(str(without_processor(qwen, tmp_path / "bare")), SECTION) as answerer:
        assert not answerer.processor.chat_template.endswith("own")


def test_a_tokenizer_alone_is_no_processor_and_said_so(qwen, tmp_path, capsys):
    adapter = as_transformers_4(without_processor(qwen, tmp_path / "adapter"))
    (adapter / "preprocessor_config.json").unlink()
    with opened(str(adapter), SECTION) as answerer:
        assert not answerer.processor.chat_template.endswith("own")
    said = capsys.readouterr()
    assert "tokenizer without image settings" in said.err and str(adapter) in said.err and not said.out


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("preprocessor_config.json", "{", "preprocessor_config.json is not JSON"),
        ("preprocessor_config.json", "{}", "processor"),
        ("preprocessor_config.json", '{"processor_class": "No"}', "expected a processor for images and text"),
        ("preprocessor_config.json", '{"processor_class": "Qwen2_5_VLProcessor", "size": "x"}', "processor"),
        ("tokenizer.json", "version https://git-lfs.github.com/spec/v1", "tokenizer.json is a git-LFS pointer"),
        ("tokenizer.json", "{}", "processor cannot be loaded"),
        ("tokenizer_config.json", "", "tokenizer_config.json is empty"),
    ],
)
def test_a_broken_processor_is_named_before_any_weights_are_loaded(qwen, tmp_path, monkeypatch, name, content, what):
    adapter = as_transformers_4(without_processor(qwen, tmp_path / "adapter"))
    (adapter / name).write_text(content)
    monkeypatch.setattr("mlplora_vlm.load.load_model", lambda *_: pytest.fail("the weights were loaded"))
    with pytest.raises(MendableError, match=what) as error, opened(str(adapter), SECTION):
        pass
    assert str(adapter) in error.value.where


def test_an_adapter_without_configuration_is_no_model(qwen, tmp_path):
    adapter = without_processor(qwen, tmp_path / "adapter")
    (adapter / "adapter_config.json").unlink()
    for word in (str(adapter), f"{qwen / 'base'}+{adapter}"):
        with pytest.raises(MendableError, match=r"adapter_config.json is missing"), opened(word, SECTION):
            pass


def test_names_are_one_folder_each():
    words = {
        "demo/tiny-llava": "demo-tiny-llava",
        "out/llava_vqa-demo/merged": "llava_vqa-demo-merged",
        "/data/base@nf4": "data-base-nf4",
        "base+out/x/adapter": "base+x-adapter",
        "http://localhost:8000/v1#Qwen/Qwen2.5-VL": "localhost-8000-v1+Qwen-Qwen2.5-VL",
        "../..": "model",
    }
    assert {word: model_name(word) for word in words} == words
