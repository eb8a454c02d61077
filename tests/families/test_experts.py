"""A mixture of experts has its weights in one tensor: such a model is refused, and told so."""

from __future__ import annotations

import pytest
from transformers import AutoConfig

from mlplora_vlm.errors import MendableError
from mlplora_vlm.families.card import card_of, known_families

MIXTURES = {
    "qwen3_vl_moe": {},
    "qwen3_5_moe": {},
    "glm4v_moe": {},
    "llama4": {},
    "ernie4_5_vl_moe": {},
    "qwen3_vl": {"text_config": {"num_experts": 128}},
}


@pytest.mark.parametrize("model_type", MIXTURES)
def test_fused_experts_are_refused_as_such(model_type):
    with pytest.raises(MendableError, match=r"mixture of experts.*fused"):
        card_of(AutoConfig.for_model(model_type, **MIXTURES[model_type]))


def test_no_known_family_is_a_mixture_by_default():
    for name, card in known_families().items():
        if name not in ("aya_vision", "granite4_vision"):  # their default configurations do not build
            assert card_of(AutoConfig.for_model(name)) is card


def test_an_unknown_family_names_its_neighbours():
    with pytest.raises(MendableError, match=r"did you mean 'llava"):
        card_of(AutoConfig.for_model("vipllava"))
