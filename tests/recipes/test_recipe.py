"""Recipes parse, merge, survive a round trip, and say everything that is wrong with them at once."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from mlplora_vlm.errors import MendableError, MendableErrors
from mlplora_vlm.memory import HardwareSection
from recipes.environment import check_environment, cuda_memory_gib
from recipes.located_yaml import PlainDumper
from recipes.recipe import (
    COMMON,
    SECTIONS,
    Preset,
    available_presets,
    choose_preset,
    load_recipe,
    load_resolved,
    recipe_files,
    recipe_text,
)
from recipes.typed import field_docs

ROOT = Path(__file__).parents[2]
RECIPES = recipe_files(ROOT / "recipes")
LLAVA = ROOT / "recipes" / "llava_vqa.yaml"
EVERY = [(path, preset) for path in RECIPES for preset in available_presets(path)]

SMALL = """
name: small
model: {id: demo/tiny-llava}
data: {source: shapes, max_length: 128}
adapter: {rank: 8, generator: {hidden: 16}}
eval: {task: shapes_test}
presets:
  other:
    description: a preset
    adapter: {generator: {z_dim: 64}}
    train: {zero_stage: 3}
"""


def test_every_recipe_parses() -> None:
    assert [path.stem for path in RECIPES] == [
        "gemma3_vqa",
        "internvl_chart",
        "llava_cars_projector",
        "llava_next_docvqa",
        "llava_onevision_mix",
        "llava_vqa",
        "paligemma_vqa",
        "qwen3_vl_caption",
        "qwen_vl_vqa",
        "smolvlm_caption",
    ]
    for path in RECIPES:
        assert load_recipe(path).name == path.stem and recipe_text(path, "description")
        assert [*available_presets(path)] == [
            preset
            for preset in ("smoke", "demo", "demo-qlora", "lora-80gb", "qlora-24gb", "zero3-8gpu")
            if not preset.startswith("demo") or path == LLAVA
        ]


@pytest.mark.parametrize(("path", "preset"), EVERY, ids=lambda value: getattr(value, "stem", value))
def test_every_preset_states_its_generator(path: Path, preset: str, tmp_path: Path) -> None:
    own = yaml.safe_load(path.read_text())["presets"][preset]
    common = yaml.safe_load(COMMON.read_text()).get(preset, {})
    adapter = own.get("adapter", {}) | common.get("adapter", {})
    assert {"rank", "alpha", "generator"} <= adapter.keys()
    assert {"form", "hidden", "states", "device"} <= adapter["generator"].keys()
    assert {"gpus", "memory_gib"} == (common | own)["hardware"].keys() and (common | own)["description"]
    recipe = load_recipe(path, preset)
    assert recipe.preset == preset
    recipe.dump_resolved(tmp_path / "deep" / "resolved.yaml")
    assert load_resolved(tmp_path / "deep" / "resolved.yaml") == recipe
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["resolved.yaml"]


@pytest.mark.parametrize(("path", "preset"), EVERY, ids=lambda value: getattr(value, "stem", value))
def test_a_recipe_repeats_nothing_that_its_preset_says(path: Path, preset: str) -> None:
    own = yaml.safe_load(path.read_text())["presets"][preset]
    common = yaml.safe_load(COMMON.read_text()).get(preset, {})
    assert _same(own, common) == [] and _same(own, yaml.safe_load(path.read_text())) == []


def _same(own: dict[str, Any], below: dict[str, Any]) -> list[str]:
    """Keys whose value ``below`` has already."""
    found = []
    for key, value in own.items():
        if isinstance(value, dict):
            found += [f"{key}.{name}" for name in _same(value, below.get(key) or {})]
        elif below.get(key, ...) == value:
            found.append(key)
    return found


def test_every_key_has_its_help() -> None:
    for name, section in SECTIONS.items():
        fields = {field.name for field in dataclasses.fields(section)}
        within = {key for key, kind in get_type_hints(section).items() if dataclasses.is_dataclass(kind)}
        assert fields - field_docs(section).keys() <= within, name


def test_importing_recipes_is_light() -> None:
    heavy = [
        "torch",
        "transformers",
        "datasets",
        "peft",
        "deepspeed",
        "accelerate",
        "numpy",
        "bitsandbytes",
        "huggingface_hub",
    ]
    code = f"import sys, recipes.recipe; print([m for m in {heavy} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_presets_and_overrides_merge_deeply(tmp_path: Path) -> None:
    path = written(tmp_path, SMALL)
    base, other = load_recipe(path), load_recipe(path, "other")
    assert (base.adapter.rank, base.adapter.generator.hidden, base.adapter.generator.z_dim) == (8, 16, 128)
    assert (other.adapter.rank, other.adapter.generator.hidden, other.adapter.generator.z_dim) == (8, 16, 64)
    assert base.train.zero_stage == 2 and other.train.zero_stage == 3
    over = load_recipe(path, "other", ["adapter.generator.hidden=4", "train.zero_stage=1", "train.zero_stage=2"])
    assert (over.adapter.generator.hidden, over.adapter.generator.z_dim, over.train.zero_stage) == (4, 64, 2)


@pytest.fixture
def common(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Presets of every recipe, of this test's own."""
    monkeypatch.setattr("recipes.recipe.COMMON", written(tmp_path, COMMON_PRESETS, "_presets.yaml"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


COMMON_PRESETS = """
other:
  description: what every recipe means by it
  adapter: {rank: 4, generator: {hidden: 2, z_dim: 32}}
  train: {zero_stage: 1, max_steps: 7}
  hardware: {gpus: 1, memory_gib: 24}
elsewhere:
  train: {max_steps: 3}
"""


def test_a_recipes_preset_lies_over_every_recipes_and_both_over_the_choices(common: Path) -> None:
    path = written(common, SMALL)
    other = load_recipe(path, "other")
    generator = other.adapter.generator
    assert (other.adapter.rank, generator.hidden, generator.z_dim) == (4, 2, 64)  # common, common, own
    assert (other.train.zero_stage, other.train.max_steps, other.data.max_length) == (3, 7, 128)  # own, common, choice
    assert load_recipe(path).adapter.rank == 8
    assert load_recipe(path, "other", ["adapter.rank=16"]).adapter.rank == 16
    [(name, preset)] = available_presets(path).items()  # those that the recipe names, and no other
    assert (name, preset.description, preset.hardware.memory_gib) == ("other", "a preset", 24)
    bare = written(common, SMALL[: SMALL.index("  other:")] + "  other: {}\n", "bare.yaml")
    assert available_presets(bare)["other"].description == "what every recipe means by it"
    assert load_recipe(bare, "other").adapter.generator.z_dim == 32


def test_a_mistake_is_placed_in_the_file_that_made_it(common: Path) -> None:
    path = written(common, SMALL.replace("rank: 8", "rnk: 8"))
    written(common, COMMON_PRESETS.replace("zero_stage: 1", "zero_stag: 1"), "_presets.yaml")
    with pytest.raises(MendableErrors) as caught:
        load_recipe(path.name, "other", ["train.epochs=x"])
    assert [error.where for error in caught.value.errors] == [
        "_presets.yaml:5 other.train.zero_stag",
        "small.yaml:5 adapter.rnk",
        "command line: train.epochs=x",
    ]
    with pytest.raises(MendableErrors, match=r"rank must be at least 1\n  at:  _presets.yaml:4 other.adapter.rank"):
        written(common, COMMON_PRESETS.replace("rank: 4", "rank: 0"), "_presets.yaml")
        load_recipe(written(common, SMALL), "other")


def test_the_presets_file_is_no_recipe(common: Path) -> None:
    written(common, SMALL)
    assert [path.name for path in recipe_files(common)] == ["small.yaml"]
    with pytest.raises(MendableError, match=r"recipes here: small\.yaml$"):
        load_recipe("none.yaml")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.learning_rate=1e-4", 1e-4),
        ("train.learning_rate=1", 1.0),
        ("adapter.generated=false", False),
        ("adapter.on=[language]", ("language",)),
        ("model.revision=7e10", "7e10"),
        ("model.revision=null", None),
        ("model.revision=", None),
        ("data.folder=2024", "2024"),
        ("data.folder=no", "no"),
        ("data.folder=a=b", "a=b"),
        ("train.max_steps=1_000", 1000),
        ("train.report_to=[]", ()),
    ],
)
def test_override_values(tmp_path: Path, override: str, expected: object) -> None:
    section, key = override.partition("=")[0].split(".")
    found = getattr(getattr(load_recipe(written(tmp_path, SMALL), None, [override]), section), key)
    assert found == expected and type(found) is type(expected)


MESSY = """\
name: messy run
model:
  id: demo/tiny-lava
  attn_implementation: flash_attention_2
  dtype: float32
dtaa:
  source: shapes
data:
  source: shape
  promt: short_answer
  max_length: 1e2
  limit: many
adapter:
  rank: 0
  dropout: "0.1"
  on: [language, language]
  generator: {hidden: yes, states: 8bits}
train:
  zero_stage: 4
  offload: on
  keep_best: true
  learning_rate: .inf
  report_to: wandb
eval:
  task: shapes_tset
  controls: [blank, blnk]
hardware: 8
"""
MESSY_FINDINGS = [
    "messy.yaml:1 name | 'messy run' cannot be part of a folder's name",
    "messy.yaml:3 model.id | model.id: there is no 'demo/tiny-lava' (did you mean 'demo/tiny-llava'?)",
    "messy.yaml:4 model.attn_implementation | model.attn_implementation: flash_attention_2 has no float32 kernel",
    "messy.yaml:6 dtaa | unknown section dtaa (did you mean 'data'?)",
    "messy.yaml:9 data.source | data.source: there is no 'shape' (did you mean 'shapes'?)",
    "messy.yaml:10 data.promt | unknown key data.promt (did you mean 'prompt'?)",
    "messy.yaml:11 data.max_length | data.max_length: expected a whole number, got 1e2 (did you mean 100?)",
    "messy.yaml:12 data.limit | data.limit: expected a whole number, got the text 'many'",
    "messy.yaml:14 adapter.rank | adapter.rank: rank must be at least 1",
    "messy.yaml:15 adapter.dropout | adapter.dropout: expected a finite number, got the text '0.1'",
    "messy.yaml:16 adapter.on | adapter.on: language is named twice",
    "messy.yaml:17 adapter.generator.hidden | adapter.generator.hidden: expected a whole number, got the text 'yes'",
    "messy.yaml:17 adapter.generator.states | adapter.generator.states: expected one of float32, 8bit, paged8bit, "
    "got the text '8bits' (did you mean '8bit'?)",
    "messy.yaml:19 train.zero_stage | train.zero_stage: expected one of 0, 1, 2, 3, got 4",
    "messy.yaml:20 train.offload | train.offload: expected true or false, got the text 'on' (did you mean true?)",
    "messy.yaml:21 train.keep_best | train.keep_best: keep_best needs evaluations to choose by",
    "messy.yaml:22 train.learning_rate | train.learning_rate: expected a finite number, got .inf",
    "messy.yaml:23 train.report_to | train.report_to: expected a list, got the text 'wandb'",
    "messy.yaml:25 eval.task | eval.task: there is no 'shapes_tset' (did you mean 'shapes_test'?)",
    "messy.yaml:26 eval.controls | eval.controls: expected one of blank, shuffled, prior, "
    "got the text 'blnk' (did you mean 'blank'?)",
    "messy.yaml:27 hardware | hardware: expected keys with values, got 8",
    "command line: nonsense | 'nonsense' is no override",
    "command line: data.split=[a: | not plain YAML: expected the node content, but found '<stream end>'",
    "command line: adapter.rnk=8 | unknown key adapter.rnk (did you mean 'rank'?)",
    "command line: train.warmup=2 | train.warmup: warmup is a share of the steps in [0, 1)",
]


def test_all_mistakes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, MESSY, "messy.yaml")
    overrides = ["adapter.rnk=8", "train.warmup=2", "nonsense", "data.split=[a:"]
    with pytest.raises(MendableErrors) as caught:
        load_recipe("messy.yaml", None, overrides)
    assert [f"{error.where} | {error.what}" for error in caught.value.errors] == MESSY_FINDINGS
    assert all(error.fix for error in caught.value.errors)


@pytest.mark.parametrize(
    ("overrides", "key", "said"),
    [
        (["model.quantization=nf4", "train.zero_stage=3"], "train.zero_stage", "4-bit"),
        (["model.dtype=bfloat16", "train.zero_stage=0"], "train.zero_stage", "fp32 masters"),
        (["model.quantization=nf4", "adapter.kind=pissa"], "adapter.kind", "4-bit weights do not give"),
        (["model.quantization=int8", "train.zero_stage=3"], "train.zero_stage", "8-bit"),
        (["model.quantization=int8", "adapter.kind=pissa"], "adapter.kind", "8-bit weights do not give"),
        (["model.double_quantization=false"], "model.double_quantization", "for 4-bit weights"),
        (
            ["model.quantization=fp4", "model.dtype=float32", "model.compute_dtype=bfloat16"],
            "model.compute_dtype",
            "would round a float32 model",
        ),
        (
            ["model.quantization=nf4", "model.dtype=bfloat16", "model.compute_dtype=float16"],
            "model.compute_dtype",
            "float16 on a CPU",
        ),
        (["adapter.generated=false", "adapter.generator.form=linear"], "adapter.generator.form", "linear is about"),
        (["adapter.generated=false", "adapter.generator.start=keep"], "adapter.generator.start", "keep is about"),
        (["adapter.generated=false", "train.zero_stage=0", "train.clip=generator"], "train.clip", "generated is false"),
        (["train.clip=generator"], "train.clip", "with ZeRO stage 2 the norm over all generators is not known"),
        (["train.optimizer=sgd", "adapter.generator.states=8bit"], "adapter.generator.states", "optimizer is sgd"),
        (["train.optimizer=sgd", "adapter.generator.states=paged8bit"], "adapter.generator.states", "paged8bit is for"),
        (["adapter.full=[projector]"], "adapter.full", "projector would be adapted and trained in full at once"),
        (["adapter.on=[language]", "adapter.full=[vision]"], "adapter.full", "expected one of projector"),
        (
            ["adapter.on=[language]", "adapter.full=[projector]", "adapter.kind=vera"],
            "adapter.full",
            "cannot merge vera",
        ),
        (["adapter.kind=vera", "adapter.b_lr_ratio=16"], "adapter.b_lr_ratio", "vera has no matrix B"),
        (["adapter.kind=pissa", "adapter.init_from=out/adapter"], "adapter.init_from", "nothing to go on from"),
        (["adapter.kind=loha"], "adapter.kind", "expected one of lora, rslora, dora, pissa, vera"),
        (["train.processes=4", "hardware.gpus=2"], "train.processes", "each process needs its own"),
        (["train.processes=3", "hardware.gpus=8"], "train.processes", "whole number of nodes"),
        (["model.attn_implementation=flash_attention_2"], "model.attn_implementation", "needs a GPU"),
        (["train.liger_kernel=true"], "train.liger_kernel", "need a GPU"),
        (["train.offload=true"], "train.offload", "no GPU to offload from"),
        (["data.split=test"], "data.split", "measured on this very split"),
        (["train.eval_steps=5", "train.eval_rows=0"], "train.eval_rows", "no rows are held back"),
        (["model.id=demo/nope"], "model.id", "there is no 'demo/nope'"),
        (["data.prompt=short_anser"], "data.prompt", "did you mean 'short_answer'?"),
        (["train.zero_stage=true"], "train.zero_stage", "got true"),
        (["adapter.generated=1"], "adapter.generated", "did you mean true?"),
        (["adapter.rank=true"], "adapter.rank", "expected a whole number, got true"),
        (["adapter.rank.deep=1"], "adapter.rank", "got keys with values"),
        (["eval.task="], "eval.task", "expected text, got nothing"),
        (["train=3"], "", "is no override"),
        (["train.learning_rate=1e999"], "train.learning_rate", "finite"),
        (["train.max_steps=" + "9" * 5000], "train.max_steps", "is no int"),
    ],
)
def test_impossible_choices(tmp_path: Path, overrides: list[str], key: str, said: str) -> None:
    with pytest.raises(MendableErrors) as caught:
        load_recipe(written(tmp_path, SMALL), None, overrides)
    (error,) = caught.value.errors
    assert said in error.what and (key in error.what or key in error.where)
    assert error.where.startswith("command line: ") or "small.yaml" in error.where


@pytest.mark.parametrize(
    "overrides",
    [
        ["adapter.kind=dora", "model.quantization=nf4"],
        ["model.quantization=fp4", "model.double_quantization=false", "model.compute_dtype=float32"],
        ["model.quantization=int8", "adapter.kind=vera"],
        ["adapter.kind=pissa", "train.zero_stage=3"],
        ["adapter.generated=false", "adapter.generator.states=8bit"],  # a preset's states: there are none to hold
        ["adapter.generated=false", "adapter.b_lr_ratio=16", "train.optimizer=sgd"],
        ["train.zero_stage=0", "train.clip=generator", "adapter.generator.form=linear"],
        ["adapter.on=[language]", "adapter.full=[projector]", "adapter.kind=rslora"],
    ],
)
def test_unusual_choices_that_work_together(tmp_path: Path, overrides: list[str]) -> None:
    load_recipe(written(tmp_path, SMALL), None, overrides)


def test_the_adapter_to_go_on_from_is_looked_at_first(tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    recipe = load_recipe(LLAVA, "smoke", [f"adapter.init_from={folder}"])
    assert "holds no PEFT adapter in safetensors" in str(*check_environment(recipe, cards=()))
    folder.mkdir()
    (folder / "adapter_model.safetensors").touch()
    (folder / "adapter_config.json").write_text("{]")
    assert "is not JSON" in str(*check_environment(recipe, cards=()))
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 8, "lora_alpha": 8}')
    assert "another one: rank is 8 there and 4 here" in str(*check_environment(recipe, cards=()))
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 4, "lora_alpha": 8}')
    assert "adapter_model.safetensors is empty" in str(*check_environment(recipe, cards=()))
    layer = "base_model.model.model.language_model.layers.0.mlp.up_proj"
    tensors = {f"{layer}.lora_A.weight": torch.ones(4, 5), f"{layer}.lora_B.weight": torch.ones(7, 4)}
    save_file(tensors, folder / "adapter_model.safetensors")
    assert check_environment(recipe, cards=()) == []


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(MendableErrors) as caught:
        load_recipe(written(tmp_path, "name: x\nmodel: {dtype: float32}\n"))
    assert [error.what for error in caught.value.errors] == [
        "data.source is missing",
        "eval.task is missing",
        "model.id is missing",
    ]


def test_an_unknown_preset_is_suggested(tmp_path: Path) -> None:
    with pytest.raises(MendableErrors, match=r"no preset 'othr' \(did you mean 'other'\?\)"):
        load_recipe(written(tmp_path, SMALL), "othr")


HOSTILE = {
    "object": "!!python/object/apply:os.system ['false']",
    "name": "model: !!python/name:os.system x",
    "binary": "model: {id: !!binary aGk=}",
    "own tag": "model: !thing {id: x}",
    "deep list": "[" * 20_000,
    "deep mapping": "{a: " * 5_000,
    "deep blocks": "\n".join("  " * depth + "a:" for depth in range(400)),
    "dashes": "- " * 5_000,
    "aliases": "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]",
    "merge key": "model: {<<: {id: x}}",
    "list": "- model",
    "scalar": "model",
    "empty": "",
    "comment": "# nothing",
    "two documents": "name: a\n---\nname: b",
    "tab": "model:\n\tid: x",
    "quote": "name: 'x",
    "null byte": "name: \0",
    "complex key": "? [a, b]\n: c",
    "number key": "1: 2",
    "duplicate": "name: a\nname: b",
    "wrong int": "train: {max_steps: !!int abc}",
    "null section": "model:",
    "null presets": "presets:",
    "list presets": "presets: [smoke]",
    "directive": "%YAML 9.9\n---\nname: a",
    "bad preset name": "presets: {../x: {}}",
    "list name": "name: [x]",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_yaml_is_a_mendable_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(MendableError) as caught:
        load_recipe(written(tmp_path, text))
    assert "small.yaml" in str(caught.value)


def test_hostile_files_are_mendable_errors(tmp_path: Path) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"name: \xff\xfe")
    (tmp_path / "big.yaml").write_bytes(b"# " + b"x" * (2 << 20))
    said = {"bytes.yaml": "UTF-8", "big.yaml": "more than any", "none.yaml": "No such file", ".": "Is a directory"}
    for name, what in said.items():
        with pytest.raises(MendableError, match=what):
            load_recipe(tmp_path / name)


def test_duplicate_keys_name_both_lines(tmp_path: Path) -> None:
    with pytest.raises(MendableErrors, match=r"adapter\.rank is given twice \(first at .*:2 adapter\.rank\)"):
        load_recipe(written(tmp_path, "adapter:\n  rank: 1\n  rank: 2\n"))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_recipe_or_a_mendable_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode())
    with pytest.raises(MendableError):
        load_recipe(path)
    with suppress(MendableError):
        load_recipe(LLAVA, None, [f"data.folder={text}", f"{text}=1"])


TEXTS = st.text(min_size=1, max_size=20).filter(lambda text: text.strip() and not text.startswith("demo/"))
HARD_TEXTS = ["1e4", "on", "null", "~", "0x1", "2024-01-01", "1:30", "", "a\x85", "\u2028b\r", "\ufeff", "x\n\n y: #"]
CHOICES: dict[str, st.SearchStrategy[Any]] = {
    "model.id": TEXTS,
    "model.revision": st.none() | TEXTS,
    "data.folder": st.none() | st.sampled_from(HARD_TEXTS) | TEXTS,
    "data.limit": st.integers(0, 10**12),
    "adapter.generated": st.booleans(),
    "adapter.on": st.lists(st.sampled_from(["language", "projector", "vision"]), min_size=1, max_size=3, unique=True),
    "train.weight_decay": st.floats(0, 1e299, allow_nan=False),
    "adapter.generator.states": st.sampled_from(["float32", "8bit"]),
    "train.learning_rate": st.floats(1e-12, 1.0, allow_nan=False),
    "train.report_to": st.lists(st.sampled_from(["tensorboard", "trackio", "wandb"]), max_size=3, unique=True),
    "train.seed": st.integers(0, 2**32 - 1),
    "eval.judge": st.none() | TEXTS,
}


@settings(max_examples=150, deadline=None)
@given(st.fixed_dictionaries({}, optional=CHOICES))
def test_resolved_yaml_reads_back_equal(tmp_path_factory: pytest.TempPathFactory, choices: dict[str, Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "resolved.yaml"
    written_as = {
        key: yaml.dump(value, Dumper=PlainDumper, default_flow_style=True, allow_unicode=True, width=10_000)
        for key, value in choices.items()
    }
    recipe = load_recipe(LLAVA, None, [f"{key}={text}" for key, text in written_as.items()])
    for key, value in choices.items():
        found: Any = recipe
        for part in key.split("."):
            found = getattr(found, part)
        assert found == (tuple(value) if isinstance(value, list) else value)
    recipe.dump_resolved(path)
    assert load_resolved(path) == recipe
    assert yaml.safe_load(path.read_text("utf-8"))["data"]["folder"] == recipe.data.folder  # YAML 1.1 readers agree


def test_a_resolved_yaml_that_was_changed_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "resolved.yaml"
    load_recipe(LLAVA, "smoke").dump_resolved(path)
    path.write_text(path.read_text().replace("rank: 4", "rank: 0"))
    with pytest.raises(MendableErrors, match=r"rank must be at least 1\n  at:  .*resolved\.yaml:\d+ adapter\.rank"):
        load_resolved(path)


def test_the_preset_is_chosen_for_the_machine() -> None:
    presets = available_presets(LLAVA)
    assert choose_preset(presets, (), None)[0] == "demo"
    assert choose_preset(presets, (), "")[0] == "demo"
    assert choose_preset(presets, (79.6, 79.6), None)[0] == "lora-80gb"
    assert choose_preset(presets, (23.99,), None)[0] == "qlora-24gb"
    assert choose_preset(presets, (0.0,), None)[0] == "lora-80gb"
    assert choose_preset(presets, (8.0,), None)[0] == "demo"
    assert choose_preset(presets, (80.0,), "smoke") == ("smoke", "preset smoke, as asked for")
    smoke = {"smoke": Preset("", HardwareSection())}
    assert choose_preset(smoke, (), None)[0] == "smoke"
    assert choose_preset({}, (), None)[0] is None
    assert "no CUDA device" in choose_preset(presets, (), None)[1]


def test_cuda_devices_are_counted_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipes.environment._nvidia_smi", lambda: (24.0, 80.0))
    for visible, expected in ((None, (24.0, 80.0)), ("1", (80.0,)), ("", ()), ("-1", ()), ("1,0,7,0", (80.0, 24.0))):
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert cuda_memory_gib() == expected


def test_smoke_lacks_nothing() -> None:
    assert check_environment(load_recipe(LLAVA, "smoke"), cards=()) == []


def test_what_the_machine_lacks_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipes.environment._installed", lambda module: False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    wishes = ["model.attn_implementation=flash_attention_2", "train.liger_kernel=true", "train.report_to=[wandb]"]
    files = [f"data.folder={tmp_path}", f"eval.folder={tmp_path}", "model.id=nobody/has-this"]
    recipe = load_recipe(LLAVA, "qlora-24gb", wishes + files)
    found = "\n".join(str(error) for error in check_environment(recipe, cards=(), reachable=lambda url: False))
    for said in (
        "needs 1 CUDA device, and 0 can be seen here",
        "model.quantization=nf4 needs the package bitsandbytes",
        "adapter.generator.states=8bit needs the package bitsandbytes",
        "flash_attention_2 needs the package flash-attn",
        "train.liger_kernel=true needs the package liger-kernel",
        "train.report_to=wandb needs the package wandb",
        "nobody/has-this is not in the local cache, and https://huggingface.co cannot be reached",
        "v2_OpenEnded_mscoco_train2014_questions.json is missing",
        "val2014 is missing",
    ):
        assert said in found
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    offline = check_environment(recipe, cards=(16.0,), reachable=lambda url: True)
    assert any("downloads are switched off" in error.what for error in offline)
    assert any("has 16 GiB, and the recipe is made for 24 GiB" in error.what for error in offline)


def test_a_folder_without_a_model_is_said(tmp_path: Path) -> None:
    recipe = load_recipe(LLAVA, "smoke", [f"model.id={tmp_path}"])
    (error,) = check_environment(recipe, cards=())
    assert "no config.json" in error.what


def written(folder: Path, text: str, name: str = "small.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def messages(*overrides: str) -> str:
    with pytest.raises(MendableError) as caught:
        load_recipe(LLAVA, "smoke", overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "keys"),
    [
        (["adapter.rank=abc", "adapter.alpha=0"], ["adapter.rank", "adapter.alpha"]),
        (["train.batch_size=x", "train.save_steps=0", "train.warmup=2"],
         ["train.batch_size", "train.save_steps", "train.warmup"]),
        (["train.max_steps=x", "train.keep_best=true", "train.eval_steps=0"], ["train.max_steps", "train.keep_best"]),
        (["model.quantization=five", "model.picture_tokens=0"], ["model.quantization", "model.picture_tokens"]),
        (["data.source=[1]", "data.prompt=shortanswer", "data.max_length=3"],
         ["data.source", "data.prompt", "data.max_length"]),
        (["eval.task=[1]", "eval.own.source=nowhere", "eval.own.max_new_tokens=0", "eval.own.metric=nothing"],
         ["eval.task", "eval.own.source", "eval.own.max_new_tokens", "eval.own.metric"]),
        (["adapter.language.rank=x", "adapter.language.layers=z", "adapter.rank=0"],
         ["adapter.language.rank", "adapter.language.layers", "adapter.rank"]),
    ],
    ids=lambda value: value[0] if "=" in value[0] else "",
)  # fmt: skip
def test_a_value_that_cannot_be_read_hides_no_other_mistake(overrides: list[str], keys: list[str]) -> None:
    found = messages(*overrides)
    for key in keys:
        assert f"{key}: " in found or f"{key} " in found, f"{key} is hidden in: {found}"


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (["train.zero_stage=7", "train.offload=true"], "train.offload: ZeRO stage"),
        (["model.quantization=five", "model.double_quantization=false"], "model.double_quantization: "),
        (["adapter.kind=lorra", "adapter.b_lr_ratio=16"], "adapter.b_lr_ratio: "),
        (["train.keep_best=maybe", "train.eval_steps=0"], "keep_best needs"),
        (["adapter.on=everywhere", "adapter.full=[projector]"], "adapter.full: "),
        (["eval.task=[1]", "eval.own.source=shapes"], "eval.own: "),
        (["eval.controls=7", "eval.judge=open"], "eval.judge: without"),
        (["train.eval_steps=x", "train.keep_best=true"], "train.keep_best: "),
    ],
)
def test_nothing_is_concluded_from_a_value_that_could_not_be_read(overrides: list[str], key: str) -> None:
    broken = overrides[0].partition("=")[0]
    found = messages(*overrides)
    assert f"{broken}: " in found and key not in found


@pytest.mark.parametrize("key", ["train.seed", "eval.seed"])
@pytest.mark.parametrize("value", [-1, 2**32])
def test_seeds_that_the_libraries_refuse_are_refused_at_once(key: str, value: int) -> None:
    found = messages(f"{key}={value}")
    assert f"got {value}" in found and str(2**32 - 1) in found and f"{key}={value}" in found
    assert load_recipe(LLAVA, "smoke", [f"{key}={2**32 - 1}"])
