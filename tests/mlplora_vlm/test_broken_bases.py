"""A base folder that is broken, or whose parts do not fit each other, is refused with the file and the names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_llava import build

from data_prep.demo.tiny import FAMILIES
from mlplora_vlm.errors import MendableError
from mlplora_vlm.load import ModelSection, check_base, load_config, load_model, load_processor

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"
PAGE = "<!DOCTYPE html>\n<html><body>Not found</body></html>"
FILE, INDEX, PART = "model.safetensors", "model.safetensors.index.json", "model-00001-of-00001.safetensors"
EMBEDDINGS = "language_model.model.embed_tokens.weight"

Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return build(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def folder(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "base"))


def load(folder: Path, **choices) -> None:
    """As predict does: the processor first, then the weights."""
    settings = ModelSection(str(folder), dtype="float32", **choices)
    load_processor(folder, settings)
    load_model(str(folder), settings)


def prepare(folder: Path) -> None:
    """As the first stage of a run does."""
    settings = ModelSection(str(folder), dtype="float32")
    check_base(str(folder), settings, load_processor(folder, settings))


def text(name: str, value: str) -> Change:
    return lambda folder: (folder / name).write_text(value)


def gone(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def values(name: str, **changed: object) -> Change:
    def change(folder: Path) -> None:
        found = json.loads((folder / name).read_text()) | changed
        (folder / name).write_text(json.dumps({key: value for key, value in found.items() if value != "gone"}))

    return change


def weights(edit: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    def change(folder: Path) -> None:
        tensors = load_file(folder / FILE)
        edit(tensors)
        save_file(tensors, folder / FILE, metadata={"format": "pt"})

    return change


def index(value: object) -> Change:
    def change(folder: Path) -> None:
        (folder / FILE).rename(folder / PART)
        (folder / INDEX).write_text(value if isinstance(value, str) else json.dumps(value))

    return change


def truncated(folder: Path) -> None:
    (folder / FILE).write_bytes((folder / FILE).read_bytes()[:5000])


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / FILE), folder / "pytorch_model.bin")
    (folder / FILE).unlink()


def shortened(tensors: dict[str, torch.Tensor], name: str) -> None:
    tensors[name] = tensors[name][:-1].clone()


CASES: dict[str, tuple[Change, tuple[str, ...]]] = {
    "config missing": (gone("config.json"), ("config.json",)),
    "config empty": (text("config.json", ""), ("config.json", "empty")),
    "config not JSON": (text("config.json", "{,"), ("config.json:1", "not JSON")),
    "config a list": (text("config.json", "[1]"), ("config.json", "list")),
    "config null": (text("config.json", "null"), ("config.json", "null")),
    "config of no family": (values("config.json", model_type="gone"), ("config.json", "model_type")),
    "config of a number": (values("config.json", model_type=3), ("config.json", "model_type", "3")),
    "config of an unknown family": (values("config.json", model_type="lava"), ("'lava'", "'llava'")),
    "config of wrong types": (values("config.json", text_config=[1]), ("config.json", "text_config")),
    "config of an unknown dtype": (values("config.json", dtype="float99"), ("config.json", "float99")),
    "config with another image token": (values("config.json", image_token_index=0), ("image_token",)),
    "weights missing": (gone(FILE), (FILE, INDEX)),
    "weights empty": (text(FILE, ""), (FILE, "empty")),
    "weights truncated": (truncated, (FILE, "truncated")),
    "weights a pointer": (text(FILE, POINTER), (FILE, "git lfs pull")),
    "weights a page": (text(FILE, PAGE), (FILE, "web page")),
    "weights pickled": (pickled, ("pytorch_model.bin", "pickle", "save_pretrained")),
    "weights without the head": (weights(lambda t: t.pop("language_model.lm_head.weight")), ("lm_head.weight",)),
    "weights without a norm": (
        weights(lambda t: t.pop("language_model.model.norm.weight")),
        ("language_model.norm.weight is missing",),
    ),
    "weights with a bias": (
        weights(lambda t: t.update({"multi_modal_projector.linear_3.bias": torch.ones(4)})),
        ("linear_3.bias", "no place"),
    ),
    "weights of another shape": (
        weights(partial(shortened, name=EMBEDDINGS)),
        ("embed_tokens.weight", "(424, 48)", "(425, 48)"),
    ),
    "weights of integers": (
        weights(lambda t: t.update({EMBEDDINGS: t[EMBEDDINGS].to(torch.int32)})),
        (EMBEDDINGS, "I32"),
    ),
    "index not JSON": (index("{"), (INDEX, "not JSON")),
    "index a list": (index([]), (INDEX, "list")),
    "index without a map": (index({"metadata": {}}), (INDEX, "weight_map")),
    "index with a list for a map": (index({"metadata": {}, "weight_map": [1]}), (INDEX, "weight_map")),
    "index of a number": (index({"metadata": {}, "weight_map": {"a": 1}}), (INDEX, "weight_map")),
    "index outside": (index({"metadata": {}, "weight_map": {"a": f"../{PART}"}}), (INDEX, "weight_map")),
    "index of a missing file": (
        index({"metadata": {}, "weight_map": {"a": "b.safetensors"}}),
        (INDEX, "b.safetensors"),
    ),
    "index of a missing tensor": (index({"metadata": {}, "weight_map": {"far.off": PART}}), (INDEX, "far.off")),
    "index without metadata": (index({"weight_map": {"far.off": PART}}), (INDEX, "metadata")),
    "tokenizer missing": (gone("tokenizer.json"), ("base", "tokenizer")),
    "tokenizer not JSON": (text("tokenizer.json", "{"), ("tokenizer.json:1", "not JSON")),
    "tokenizer empty object": (text("tokenizer.json", "{}"), ("base", "tokenizer")),
    "tokenizer settings a list": (text("tokenizer_config.json", "[]"), ("tokenizer_config.json", "list")),
    "tokenizer of wrong types": (values("tokenizer_config.json", eos_token=3), ("eos_token",)),
    "tokenizer without an end": (values("tokenizer_config.json", eos_token=None), ("eos_token",)),
    "tokenizer without padding": (values("tokenizer_config.json", pad_token=None), ("padding token",)),
    "processor missing": (gone("processor_config.json"), ("base", "processor")),
    "processor not JSON": (text("processor_config.json", "{"), ("processor_config.json:1", "not JSON")),
    "processor a list": (text("processor_config.json", "[]"), ("processor_config.json", "list")),
    "processor of another class": (values("processor_config.json", processor_class="Foo"), ("expected a processor",)),
    "processor of wrong types": (values("processor_config.json", image_processor="x"), ("base", "processor")),
    "processor that divides by zero": (values("processor_config.json", patch_size=0), ("base", "image")),
    "old processor not JSON": (text("preprocessor_config.json", "{"), ("preprocessor_config.json:1", "not JSON")),
    "template missing": (gone("chat_template.jinja"), ("chat template",)),
    "template a pointer": (text("chat_template.jinja", POINTER), ("chat_template.jinja", "git lfs pull")),
    "template of broken syntax": (text("chat_template.jinja", "{% for m in messages %}"), ("chat template", "endfor")),
    "template for text": (
        text("chat_template.jinja", "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}"),
        ("text only",),
    ),
    "template that refuses": (text("chat_template.jinja", "{{ raise_exception('never') }}"), ("never",)),
    "template that fails": (text("chat_template.jinja", "{{ 1 / 0 }}"), ("chat template", "zero")),
    "template without images": (
        text("chat_template.jinja", "{% for m in messages %}{{ m.content[-1].text }}{% endfor %}"),
        ("0 placeholders", "<image>"),
    ),
    "template without questions": (text("chat_template.jinja", "<image> what?"), ("question",)),
    "generation settings not JSON": (text("generation_config.json", "{"), ("generation_config.json:1", "not JSON")),
    "generation settings a list": (text("generation_config.json", "[]"), ("generation_config.json", "list")),
    "generation settings of wrong types": (
        values("generation_config.json", eos_token_id="</s>"),
        ("generation_config.json", "eos_token_id", "</s>"),
    ),
}


def test_a_whole_base_is_loaded(folder):
    load(folder)
    prepare(folder)


@pytest.mark.parametrize(("change", "facts"), CASES.values(), ids=CASES.keys())
def test_a_broken_base_is_refused_at_once(folder, change, facts):
    change(folder)
    for attempt in (load, prepare):
        with pytest.raises(MendableError) as error:
            attempt(folder)
        assert error.value.fix and all(fact in str(error.value) for fact in facts), error.value


def test_a_shape_is_compared_in_few_bits_too(folder):
    name = "language_model.model.layers.0.mlp.up_proj.weight"
    weights(partial(shortened, name=name))(folder)
    with pytest.raises(MendableError, match=r"up_proj.weight has shape \(90, 48\), expected \(91, 48\)"):
        load(folder, quantization="nf4")


def with_more_tokens(folder: Path, count: int) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"<new{number}>" for number in range(count)])
    tokenizer.save_pretrained(folder)


def test_tokens_beyond_the_embeddings_are_refused_with_both_sizes(folder):
    from eval_harness.local_model import LocalModel

    with_more_tokens(folder, 3)
    settings = ModelSection(str(folder), dtype="float32")
    processor, model = load_processor(folder, settings), load_model(str(folder), settings)
    for attempt in (
        lambda: check_base(str(folder), settings, processor),
        lambda: LocalModel(model, processor, "base"),
    ):
        with pytest.raises(MendableError, match="425 rows") as error:
            attempt()
        assert "428" in error.value.what and "<new0>" in error.value.what


def test_a_resized_vocabulary_and_padded_embeddings_are_accepted(folder):
    with_more_tokens(folder, 3)
    settings = ModelSection(str(folder), dtype="float32")
    model = load_model(str(folder), settings)
    model.resize_token_embeddings(428, pad_to_multiple_of=64)
    model.save_pretrained(folder)
    check_base(str(folder), settings, load_processor(folder, settings))
    assert load_model(str(folder), settings).get_input_embeddings().num_embeddings == 448


def test_a_processor_of_another_family_is_refused(folder, tmp_path):
    from data_prep.demo.tiny import tiny_family
    from data_prep.demo.tiny.build import build_processor

    other = tmp_path / "other"
    build_processor(tiny_family("qwen2_5_vl")).save_pretrained(other)
    with pytest.raises(MendableError, match=r"end an answer|placeholder|image"):
        load_processor(folder, ModelSection(str(folder)), other)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_s_own_files_fit(name):
    from data_prep.demo.models import model_path

    path = model_path(f"demo/tiny-{name}")
    settings = ModelSection(path, dtype="float32")
    assert load_config(path, settings).model_type
    check_base(path, settings, load_processor(path, settings))


@pytest.mark.parametrize("form", ["sharded", "nf4", "int8"])
def test_bases_in_several_files_and_in_few_bits_are_accepted(folder, form):
    quantization = "none" if form == "sharded" else form
    settings = ModelSection(str(folder), dtype="float32", quantization=quantization)
    model = load_model(str(folder), settings, "cpu")
    (folder / FILE).unlink()
    model.save_pretrained(folder, max_shard_size="100KB" if form == "sharded" else "1GB")
    assert len(list(folder.glob("*.safetensors"))) > (form == "sharded")
    for choice in {quantization, "none"}:
        load(folder, quantization=choice)
    prepare(folder)


@pytest.mark.parametrize("name", ["/no/such/folder", "./nowhere", "base/config.json"])
def test_a_path_that_is_no_folder_is_named(folder, name):
    path = name if name.startswith(("/", ".")) else str(folder.parent / name)
    with pytest.raises(MendableError, match="expected a folder or a hub id") as error:
        load_config(path, ModelSection(path))
    assert path in error.value.where


def test_generation_settings_that_transformers_refuses_end_a_run_and_change_no_answer(folder):
    """They are copied to the merged model, which transformers could not load after the training."""
    values("generation_config.json", num_return_sequences=2, do_sample=False)(folder)
    load(folder)
    with pytest.raises(MendableError, match="num_return_sequences") as error:
        prepare(folder)
    assert error.value.where == str(folder / "generation_config.json")
