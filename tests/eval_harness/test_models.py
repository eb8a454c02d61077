"""What a word on the command line names."""

from __future__ import annotations

import pytest
import tiny_llava
import torch

from eval_harness.models import model_name, opened
from mlplora_vlm.attach import AdapterSection, attach
from mlplora_vlm.errors import MendableError
from mlplora_vlm.load import ModelSection
from mlplora_vlm.merge import merge

SECTION = ModelSection("", dtype="float32")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A base model, an adapter on it, and both merged."""
    root = tmp_path_factory.mktemp("models")
    base = root / "base"
    tiny_llava.build(base)
    section = ModelSection(str(base), dtype="float32")
    from mlplora_vlm.load import load_model

    tuned, _ = attach(load_model(str(base), section), AdapterSection(rank=2, alpha=4))
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)
    tuned.save_pretrained(root / "adapter")
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
    with pytest.raises(MendableError, match="not named") as error, opened("http://localhost:1/v1", SECTION):
        pass
    assert "#NAME" in error.value.fix


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
