"""The table of kinds says what PEFT does: its configurations, the tensors of its files, which of them start at zero."""

from __future__ import annotations

import pytest
import torch
from peft import get_peft_model_state_dict

from mlplora_vlm.attach import AdapterSection, attach
from mlplora_vlm.kinds import HEADS, KINDS, kind_of
from mlplora_vlm.meta import meta_model


@pytest.fixture(scope="module")
def attached():
    """A freshly attached adapter of each kind."""
    import tiny_llava

    torch.manual_seed(0)
    model = tiny_llava.build_model(tiny_llava.build_processor())
    return {kind: attach(meta_or(model), AdapterSection(kind=kind, rank=3, alpha=6))[0] for kind in KINDS}


def meta_or(model):
    """A copy with weights: PiSSA changes them."""
    copy = meta_model(model.config).to_empty(device="cpu")
    copy.load_state_dict(model.state_dict())
    return copy


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_is_pefts(attached, kind):
    model = attached[kind]
    config = model.peft_config["default"].to_dict()
    assert kind_of(config | {"peft_type": config["peft_type"].value}) == kind
    tensors = get_peft_model_state_dict(model)
    layers: dict[str, set[str]] = {}
    for name in set(tensors) - set(KINDS[kind].shared):
        (ending,) = [ending for ending in KINDS[kind].tensors if name.endswith(f".{ending}")]
        layers.setdefault(name.removesuffix(f".{ending}"), set()).add(ending)
    assert len(layers) == 16 and all(found == set(KINDS[kind].tensors) for found in layers.values())
    assert set(KINDS[kind].shared) <= set(tensors)
    zero = {name for name in tensors if not tensors[name].any()}
    wanted = {f"{layer}.{KINDS[kind].zero}" for layer in layers if KINDS[kind].zero}
    assert zero == wanted
    for ending in KINDS[kind].tensors:  # the generator's heads agree: a tensor that starts at 0 has a head that does
        assert (HEADS.get(ending.removesuffix(".weight")) == "zero") == (
            ending == KINDS[kind].zero or (kind == "pissa" and ending == "lora_B.weight")
        )


@pytest.mark.parametrize(
    "config",
    [
        {"peft_type": "LOHA"},
        {"peft_type": "LORA", "use_dora": True, "use_rslora": True},
        {"peft_type": "LORA", "use_rslora": True, "init_lora_weights": "pissa_niter_16"},
        {"peft_type": "VERA", "save_projection": False},
        {},
    ],
)
def test_what_is_another_kind_or_two_in_one_is_none(config):
    assert kind_of(config) is None
