"""Adapters that others trained: used exactly as PEFT would, or refused with what is wrong, where, and what to do."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_llava import build

from mlplora_vlm.adapter_file import read_adapter
from mlplora_vlm.adapter_folder import check_fit, put_on
from mlplora_vlm.checkpoint import ADAPTER_FILE, CONFIG_FILE
from mlplora_vlm.errors import MendableError
from mlplora_vlm.load import ModelSection, load_model, load_tuned
from mlplora_vlm.merge import merge

IDS = torch.randint(5, 60, (2, 9), generator=torch.Generator().manual_seed(0))
LAYER = "base_model.model.model.language_model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> str:
    return str(build(tmp_path_factory.mktemp("tiny")))


def section(path: str | Path) -> ModelSection:
    return ModelSection(str(path), dtype="float32")


def loaded(path: str | Path) -> Any:
    return load_model(str(path), section(path)).eval()


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def trained(path: str | Path, folder: Path, config: peft.PeftConfig, tokens: int | None = None) -> torch.Tensor:
    """Saves an adapter as PEFT leaves it after a training; returns what the model then says."""
    model = loaded(path)
    if tokens:
        model.resize_token_embeddings(tokens)
    tuned = peft.get_peft_model(model, config, autocast_adapter_dtype=False)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    tuned.save_pretrained(folder)
    return logits(tuned)


def lora(*targets: str, **options: Any) -> peft.LoraConfig:
    return peft.LoraConfig(r=4, lora_alpha=8, target_modules=list(targets or ("q_proj", "v_proj")), **options)


@pytest.fixture(scope="module")
def adapter(base, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    trained(base, folder, lora(exclude_modules=r".*vision_tower.*"))
    return folder


def changed(adapter: Path, folder: Path, tensors: Any = None, **config: Any) -> Path:
    """A copy of the adapter with other settings, and with ``tensors(those of the file)``."""
    shutil.copytree(adapter, folder, dirs_exist_ok=True)
    told = json.loads((folder / CONFIG_FILE).read_text()) | config
    (folder / CONFIG_FILE).write_text(json.dumps(told))
    if tensors:
        save_file(tensors(load_file(folder / ADAPTER_FILE)), folder / ADAPTER_FILE)
    return folder


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


PEFTS_OWN = {
    "dora and rslora": lora(use_dora=True, use_rslora=True),
    "bias of all": lora(bias="all"),
    "bias of adapted": lora(bias="lora_only"),
    "head": lora("lm_head"),
    "embedding": lora("q_proj", "embed_tokens"),
    "both": lora("embed_tokens", "lm_head"),
    "in full": lora(modules_to_save=["lm_head", "embed_tokens"]),
    "regex": peft.LoraConfig(r=4, target_modules=r".*language_model.*\.(q|v)_proj", rank_pattern={"q_proj": 2}),
    "all linear": peft.LoraConfig(r=2, target_modules="all-linear", exclude_modules=["linear_1"]),
    "some layers": lora(layers_to_transform=[1]),
    "unused names": lora("q_proj", "not_in_this_model"),
    "convolutions": lora("q_proj", "patch_embedding"),
    "gaussian": lora(init_lora_weights="gaussian", alpha_pattern={"v_proj": 3}),
}


@pytest.mark.parametrize("name", PEFTS_OWN)
def test_what_peft_wrote_is_used_and_merged_as_peft_does(base, tmp_path, name):
    wanted = trained(base, tmp_path / "adapter", PEFTS_OWN[name])
    assert distance(logits(loaded(base)), wanted) > 1e-3, "or nothing is shown"
    assert distance(logits(load_tuned(base, tmp_path / "adapter", section(base))), wanted) <= 1e-6
    merge(base, section(base), tmp_path / "adapter", tmp_path / "merged")
    assert distance(logits(loaded(tmp_path / "merged")), wanted) <= 1e-5


BROKEN_SETTINGS: list[tuple[dict[str, Any], str]] = [
    *[({"peft_type": name}, f"method {re.escape(str(name))} are not supported: expected one of lora, rslora, dora")
      for name in ("LOHA", "LOKR", "OFT", "IA3", "ADALORA", "PROMPT_TUNING", "NONSENSE", None, 3, ["LORA"])],
    *[({"r": value}, "r: expected a whole number above 0, got") for value in (0, -1, "4", 4.0, True, None, [4])],
    *[({"lora_alpha": value}, "lora_alpha: expected a number other than 0") for value in ("8", None, 0, [], True)],
    ({"lora_alpha": float("nan")}, "lora_alpha: expected a number"),
    *[({key: value}, f"{key}: expected a list of module names, or one valid regular expression")
      for key in ("target_modules", "exclude_modules") for value in ("(q_proj", 3, ["q_proj", 3], {"q_proj": 1}, "")],
    ({"modules_to_save": "lm_head"}, "modules_to_save: expected a list of module names"),
    ({"rank_pattern": ["q_proj"]}, "rank_pattern: expected valid patterns, each with a whole number"),
    ({"rank_pattern": {"(q_proj": 4}}, "rank_pattern: expected valid patterns"),
    ({"alpha_pattern": {"q_proj": "8"}}, "alpha_pattern: expected valid patterns, each with a number"),
    ({"bias": "some"}, "bias: expected none, all, lora_only or vera_only, got 'some'"),
    ({"use_dora": "yes"}, "use_dora: expected true or false"),
    ({"base_model_name_or_path": 3}, "base_model_name_or_path: expected a name or a folder"),
    *[({"init_lora_weights": init}, f"init_lora_weights is '{init}'")
      for init in ("pissa", "pissa_niter_4", "olora", "corda", "loftq", "lora_ga")],
    ({"lora_bias": True}, "option of PEFT that is not supported: lora_bias"),
    ({"layer_replication": [[0, 2], [1, 2]]}, "layer_replication"),
    ({"trainable_token_indices": [1, 2]}, "trainable_token_indices"),
    ({"alora_invocation_tokens": [1, 2]}, "alora_invocation_tokens"),
    ({"target_parameters": ["experts.weight"]}, "target_parameters"),
    ({"modules_to_save": ["lm_head"]}, "not whole: 4 layers; 1 missing: lm_head"),
    ({"use_dora": True}, "4 missing: .*lora_magnitude_vector"),
    ({"r": 8}, r"has the shape \(4, .*expected rank 8 on axis 0"),
    ({"rank_pattern": {"v_proj": 2}}, r"v_proj.lora_A.weight has the shape .*expected rank 2"),
]  # fmt: skip


@pytest.mark.parametrize(("config", "what"), BROKEN_SETTINGS, ids=[str(config) for config, _ in BROKEN_SETTINGS])
def test_settings_that_cannot_be_are_named(adapter, tmp_path, config, what):
    folder = changed(adapter, tmp_path / "adapter", **config)
    with pytest.raises(MendableError, match=what) as error:
        read_adapter(folder)
    assert str(folder) in error.value.where and error.value.fix


def without(part: str) -> Any:
    return lambda tensors: {name: tensor for name, tensor in tensors.items() if part not in name}


def each(change: Any) -> Any:
    return lambda tensors: {name: change(tensor) for name, tensor in tensors.items()}


def renamed(old: str, new: str) -> Any:
    return lambda tensors: {name.replace(old, new): tensor for name, tensor in tensors.items()}


def one(name: str, tensor: torch.Tensor) -> Any:
    return lambda tensors: tensors | {name: tensor}


BROKEN_TENSORS = {
    "no tensors": (lambda tensors: {}, "not whole: 0 layers"),
    "one side": (without("lora_B"), "4 missing: .*lora_B.weight"),
    "one side of one layer": (without("layers.0.self_attn.q_proj.lora_A"), "1 missing: .*q_proj.lora_A.weight"),
    "an adapter's name": (renamed("lora_A.weight", "lora_A.default.weight"), "unknown: .*lora_A.default.weight"),
    "LoRA's biases": (one(f"{LAYER}.lora_B.bias", torch.ones(48)), "1 unknown: .*lora_B.bias"),
    "a module in full": (one(f"{LAYER}.weight", torch.ones(48, 48)), "1 unknown: .*q_proj.weight"),
    "a bias": (one(f"{LAYER}.bias", torch.ones(48)), "1 unknown: .*q_proj.bias"),
    "empty": (each(lambda t: t[:0]), "8 of 8 adapter tensors are empty"),
    "NaN": (one(f"{LAYER}.lora_A.weight", torch.full((4, 48), torch.nan)), "1 of 8 adapter tensors are not finite"),
    "infinity": (one(f"{LAYER}.lora_B.weight", torch.full((48, 4), -torch.inf)), "not finite"),
    "whole numbers": (each(lambda t: t.int()), "is of type torch.int32: expected one of torch.float32"),
    "8-bit floats": (each(lambda t: t.to(torch.float8_e4m3fn)), "is of type torch.float8"),
    "B of zeros": (each(lambda t: t * (t.shape[1] != 4)), "still the identity: lora_B.weight is zero in every layer"),
    "all zeros": (each(torch.zeros_like), "still the identity"),
    "another rank on one side": (one(f"{LAYER}.lora_B.weight", torch.ones(48, 3)), r"\(48, 3\): expected rank 4"),
    "turned": (each(lambda t: t.T.contiguous()), "expected rank 4 on axis 0"),
    "flat": (each(lambda t: t.flatten()), "expected rank 4"),
}


@pytest.mark.parametrize("name", BROKEN_TENSORS)
def test_tensors_that_cannot_be_are_named(adapter, tmp_path, name):
    tensors, what = BROKEN_TENSORS[name]
    folder = changed(adapter, tmp_path / "adapter", tensors)
    with pytest.raises(MendableError, match=what) as error:
        read_adapter(folder)
    assert error.value.where == str(folder / ADAPTER_FILE) and error.value.fix


def test_a_checkpoint_may_hold_what_a_finished_adapter_may_not(adapter, tmp_path):
    zeros, _ = BROKEN_TENSORS["all zeros"]
    folder = changed(adapter, tmp_path / "adapter", zeros, init_lora_weights="pissa_niter_16")
    assert len(read_adapter(folder, checkpoint=True).layers) == 4


def test_missing_files_are_named_and_a_pickle_is_never_read(adapter, tmp_path):
    folder = changed(adapter, tmp_path / "adapter")
    tensors = load_file(folder / ADAPTER_FILE)
    (folder / ADAPTER_FILE).unlink()
    with pytest.raises(MendableError, match=r"adapter_model.safetensors is missing"):
        read_adapter(folder)
    torch.save(tensors, folder / "adapter_model.bin")
    with pytest.raises(MendableError, match=r"pickled \(adapter_model.bin\)") as error:
        read_adapter(folder)
    assert "weights_only=True" in error.value.fix and "save_file" in error.value.fix
    (folder / CONFIG_FILE).unlink()
    with pytest.raises(MendableError, match=r"adapter_config.json is missing"):
        read_adapter(folder)


def old_names(name: str) -> str:
    return name.replace("model.language_model.", "language_model.model.")


MISFITS = {
    "half of the layers": (without("layers.1."), {}, "lacks 2 of 4 layers that target_modules names: model.lang"),
    "half, old names": (
        lambda tensors: {old_names(name): t for name, t in without("layers.1.")(tensors).items()},
        {"target_modules": r".*language_model.model.layers.*\.[qv]_proj"},
        "lacks 2 of 4 layers",
    ),
    "an unknown part": (renamed("language_model", "speech_model"), {}, "does not fit the model: the file has 8 names"),
    "an unknown layer": (renamed("layers.1.", "layers.7."), {}, "the file has 4 names .*layers.7"),
    "wider layers": (each(lambda t: torch.cat([t, t], 1 if len(t) == 4 else 0)), {}, r"and the model's is \(4, 48\)"),
    "not a linear layer": (renamed("q_proj", "rotary_emb"), {"target_modules": ["rotary_emb", "v_proj"]}, "."),
    "other names": (None, {"target_modules": ["fc1"]}, "has 4 of 4 layers that target_modules does not name"),
    "layers that are left out": (None, {"layers_to_transform": [1]}, "has 2 of 4 layers that target_modules does not"),
    "option of a later PEFT": (None, {"use_new_thing": True}, "does not know the option use_new_thing = True"),
    "layers_pattern alone": (None, {"layers_pattern": "layers"}, "PEFT cannot use the adapter: .*layers_pattern"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_what_does_not_fit_the_model_is_refused_before_it_is_loaded(base, adapter, tmp_path, monkeypatch, name):
    tensors, config, what = MISFITS[name]
    folder = changed(adapter, tmp_path / "adapter", tensors, **config)
    with pytest.raises(MendableError, match=what):
        put_on(loaded(base), folder)
    monkeypatch.setattr("mlplora_vlm.load.load_model", lambda *_: pytest.fail("the weights were loaded"))
    with pytest.raises(MendableError, match=what):
        load_tuned(base, folder, section(base))
    with pytest.raises(MendableError, match=what):
        merge(base, section(base), folder, tmp_path / "merged")
    assert {path.name for path in tmp_path.iterdir()} == {"adapter"}


@pytest.mark.parametrize("options", [{}, {"modules_to_save": ["embed_tokens", "lm_head"]}], ids=["saved", "in full"])
def test_a_resized_vocabulary_is_named_with_both_sizes(base, tmp_path, options):
    tokens = loaded(base).get_input_embeddings().num_embeddings
    targets = ["q_proj"] if options else ["q_proj", "lm_head"]
    wanted = trained(base, tmp_path / "adapter", lora(*targets, **options), tokens=tokens + 3)
    with pytest.raises(MendableError, match=f"trained with {tokens + 3} tokens, and the model has {tokens}") as error:
        check_fit(base, section(base), tmp_path / "adapter")
    assert f"resize_token_embeddings({tokens + 3})" in error.value.fix
    model = loaded(base)  # as the message says
    model.resize_token_embeddings(tokens + 3)
    model.save_pretrained(tmp_path / "resized")
    tuned = load_tuned(str(tmp_path / "resized"), tmp_path / "adapter", section(tmp_path / "resized"))
    assert distance(logits(tuned), wanted) <= 1e-6


def test_old_names_keep_their_ranks(base, adapter, tmp_path):
    """A pattern of full names is the file's; PEFT asks for the model's, which are others today."""
    names = [name for name, _ in loaded(base).named_modules() if name.endswith(("q_proj", "v_proj"))]
    names = [name for name in names if "language" in name]
    ranks = {name: 2 for name in names if name.endswith("v_proj")}
    config = lora(*names, rank_pattern=ranks, alpha_pattern=dict.fromkeys(ranks, 5))
    wanted = trained(base, tmp_path / "now", config)
    old = {old_names(name): value for name, value in ranks.items()}
    targets = [old_names(name) for name in names]
    alphas = dict.fromkeys(old, 5)
    folder = changed(tmp_path / "now", tmp_path / "old", renamed("model.language_model.", "language_model.model."),
                     target_modules=targets, rank_pattern=old, alpha_pattern=alphas)  # fmt: skip
    assert distance(logits(put_on(loaded(base), folder)), wanted) <= 1e-6


def test_an_adapter_is_not_put_on_a_base_that_holds_it(base, tmp_path):
    trained(base, tmp_path / "adapter", lora())
    merge(base, section(base), tmp_path / "adapter", tmp_path / "merged")
    merged = tmp_path / "merged"
    for folder in (tmp_path / "adapter", changed(tmp_path / "adapter", tmp_path / "scaled", each(lambda t: 2 * t))):
        with pytest.raises(MendableError, match="merged into this base already") as error:
            load_tuned(str(merged), folder, section(merged))
        assert error.value.where == str(merged) and base in error.value.fix
    same = changed(tmp_path / "adapter", tmp_path / "same", base_model_name_or_path=str(merged))
    with pytest.raises(MendableError, match="merged into this base already"):
        load_tuned(str(merged), same, section(merged))
    wanted = trained(merged, tmp_path / "more", lora())
    assert distance(logits(load_tuned(str(merged), tmp_path / "more", section(merged))), wanted) <= 1e-6


def test_an_adapter_of_another_family_is_named_as_such(base, adapter, tmp_path):
    other = {"auto_mapping": {"base_model_class": "Qwen2_5_VLForConditionalGeneration"}, "exclude_modules": None}
    with pytest.raises(MendableError, match=r"trained on a Qwen2_5_VL\w+, and this is a LlavaForCond"):
        check_fit(base, section(base), changed(adapter, tmp_path / "adapter", **other))
