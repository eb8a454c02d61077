"""Collapse writes exactly a stock PEFT folder, equal to what was trained, and refuses what cannot have been."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from mlplora_vlm.collapse import ADAPTER_FILES, collapse, tensors_digest
from mlplora_vlm.errors import MendableError

NAME = "base_model.model.model.language_model.layers.0.mlp.up_proj"
FULL = "base_model.model.model.multi_modal_projector.linear_1.weight"
DORA = {f"{NAME}.lora_magnitude_vector": torch.ones(7)}
VERA = {
    f"{NAME}.vera_lambda_b": torch.randn(7),
    f"{NAME}.vera_lambda_d": torch.full((3,), 0.1),
    "base_model.vera_A": torch.randn(3, 9),
    "base_model.vera_B": torch.randn(9, 3),
    f"{NAME}.lora_A.weight": None,
    f"{NAME}.lora_B.weight": None,
}
IS_DORA, IS_VERA = {"use_dora": True}, {"peft_type": "VERA", "save_projection": True}
IN_FULL = {"modules_to_save": ["model.multi_modal_projector"]}


def trained(folder, config_changes=(), **changes):
    tensors = {f"{NAME}.lora_A.weight": torch.randn(3, 5), f"{NAME}.lora_B.weight": torch.randn(7, 3)} | changes
    folder.mkdir()
    save_file({name: t for name, t in tensors.items() if t is not None}, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 3, "lora_alpha": 6, "base_model_name_or_path": None} | dict(config_changes)
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "README.md").write_text("PEFT writes this; it is not part of the adapter")
    return folder


def test_writes_exactly_the_adapters_files_and_tensors(tmp_path):
    source = trained(tmp_path / "trained")
    facts = collapse(source, tmp_path / "adapter", "some/base")
    assert sorted(path.name for path in (tmp_path / "adapter").iterdir()) == sorted(ADAPTER_FILES)
    assert not list(tmp_path.glob(".*")), "nothing half-written is left"
    wanted, got = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("trained", "adapter"))
    assert wanted.keys() == got.keys() and all(torch.equal(wanted[name], got[name]) for name in wanted)
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["inference_mode"]) == ("some/base", True)
    assert config["target_modules"] == [NAME.removeprefix("base_model.model.")]
    assert facts == {"layers": 1, "parameters": 36, "sha256": tensors_digest(wanted)}
    assert collapse(source, tmp_path / "again", "some/base") == facts
    with pytest.raises(MendableError, match=r"adapter_config\.json"):
        collapse(source, tmp_path / "adapter", "some/base")


@pytest.mark.parametrize(
    ("config", "changes", "parameters"),
    [
        (IS_DORA, DORA, 43),
        (IS_VERA, VERA, 10),
        (IN_FULL, {FULL: torch.randn(4, 2)}, 44),
        (IN_FULL | IS_DORA, DORA | {FULL: torch.randn(4, 2)}, 51),
        (IS_DORA | {"use_rslora": True}, DORA, 43),
    ],
)
def test_other_kinds_and_modules_in_full_are_whole_too(tmp_path, config, changes, parameters):
    source = trained(tmp_path / "trained", config, **changes)
    facts = collapse(source, tmp_path / "adapter", "some/base")
    assert (facts["layers"], facts["parameters"]) == (1, parameters), "VeRA's projections are not trained"
    wanted, got = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("trained", "adapter"))
    assert wanted.keys() == got.keys() and all(torch.equal(wanted[name], got[name]) for name in wanted)
    told = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert told["target_modules"] == [NAME.removeprefix("base_model.model.")]
    assert told.get("modules_to_save") == config.get("modules_to_save")


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        ({}, DORA, "not whole"),
        (IS_DORA, {}, "not whole"),
        (IS_DORA, DORA | {f"{NAME}.lora_B.weight": torch.zeros(7, 3)}, "identity: lora_B.weight is zero"),
        (IS_VERA, VERA | {"base_model.vera_A": None}, "not whole: 1 layers; 1 missing: base_model.vera_A"),
        (IS_VERA, VERA | {f"{NAME}.vera_lambda_b": torch.zeros(7)}, "identity"),
        ({}, {FULL: torch.randn(4, 2)}, "not whole"),
        (IN_FULL, {}, "not whole: 1 layers; 1 missing: .*multi_modal_projector"),
        ({"peft_type": "LOHA"}, {}, "LOHA are not supported: expected one of lora, rslora, dora, pissa, vera"),
        ({"init_lora_weights": "olora"}, {}, "a base that its init changed: init_lora_weights is 'olora'"),
    ],
)
def test_refuses_what_its_configuration_does_not_say(tmp_path, config, changes, message):
    with pytest.raises(MendableError, match=message):
        collapse(trained(tmp_path / "trained", config, **changes), tmp_path / "adapter", "some/base")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({f"{NAME}.lora_B.weight": torch.zeros(7, 3)}, "identity"),
        ({f"{NAME}.lora_A.weight": torch.full((3, 5), float("nan"))}, "not finite"),
        ({f"{NAME}.lora_A.weight": torch.zeros(0)}, "empty"),
        ({f"{NAME}.lora_B.weight": None}, "not whole"),
        ({f"{NAME}.lora_magnitude_vector.weight": torch.ones(7)}, "not whole"),
    ],
)
def test_refuses_what_cannot_have_been_trained(tmp_path, changes, message):
    with pytest.raises(MendableError, match=message):
        collapse(trained(tmp_path / "trained", **changes), tmp_path / "adapter", "some/base")
    assert not (tmp_path / "adapter").exists()


def test_digest_sees_names_shapes_precision_and_values():
    one = {"a": torch.arange(6.0)}
    others = [{"b": torch.arange(6.0)}, {"a": torch.arange(6.0).view(2, 3)}, {"a": torch.arange(6.0).bfloat16()},
              {"a": torch.arange(6.0) + 1}]  # fmt: skip
    assert len({tensors_digest(tensors) for tensors in [one, *others]}) == 5
