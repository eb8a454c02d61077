"""Quantised bases: what is asked for is what is loaded, and its bytes are foreseen exactly."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_batch import batch
from tiny_llava import build

from mlplora_vlm.attach import AdapterSection, attach
from mlplora_vlm.errors import MendableError
from mlplora_vlm.families.card import card_for
from mlplora_vlm.load import ModelSection, load_model
from mlplora_vlm.meta import meta_model
from mlplora_vlm.quantization import check_quantized, check_unchanged, quantization_config, quantized_layers
from mlplora_vlm.weight_kinds import planned_kinds, said, weight_kinds

KINDS = [("nf4", True), ("nf4", False), ("fp4", True), ("fp4", False), ("int8", True)]
CARD = card_for("llava")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build(tmp_path_factory.mktemp("tiny")))


def section(base: str, kind: str, double: bool = True, dtype: Any = "float32") -> ModelSection:
    return ModelSection(id=base, dtype=dtype, quantization=kind, double_quantization=double)  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "double"), KINDS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_only_language_layers_are_quantised_and_nothing_else_changes(
    base: str, kind: str, double: bool, dtype: str
) -> None:
    settings = section(base, kind, double, dtype)
    model = load_model(base, settings)
    layers = quantized_layers(model)
    assert len(layers) == 14 and all(name.startswith("model.language_model.layers.") for name in layers)
    whole = {p.dtype for n, p in model.named_parameters() if n.removesuffix(".weight") not in layers}
    assert whole == {getattr(torch, dtype)}, "embeddings, head, tower and projector are as asked for"
    foreseen = planned_kinds(meta_model(model.config), CARD, settings, 4 if dtype == "float32" else 2)
    assert weight_kinds(model) == foreseen
    assert foreseen["their constants", kind] > 0


@pytest.mark.parametrize(("kind", "double"), [("fp4", True), ("int8", True)])
def test_adapters_on_a_quantised_base_learn(base: str, kind: str, double: bool) -> None:
    model, _ = attach(load_model(base, section(base, kind, double)), AdapterSection(rank=3))
    model(**batch()).loss.backward()
    gradients = [p.grad for n, p in model.named_parameters() if ".lora_B." in n]
    assert len(gradients) == 16 and all(g is not None and g.isfinite().all() and g.any() for g in gradients)


def test_the_adapter_is_a_kind_of_its_own(base: str) -> None:
    plain = load_model(base, section(base, "nf4"))
    before = weight_kinds(plain)
    model, _ = attach(plain, AdapterSection(rank=3))
    after = weight_kinds(model)
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    assert after == before | {("adapter", "float32"): trained}
    assert said({("head", "bfloat16"): 2**20, ("language layers", "nf4"): 3 * 2**20}) == (
        "the model in memory, 4.0 MiB: language layers 3.0 MiB nf4, head 1.0 MiB bfloat16"
    )


def test_a_layer_that_the_card_does_not_name_is_refused(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    wrong = replace(CARD, unquantized=("vision_tower.nothing", "lm_head"))  # matches nothing: silent in transformers
    monkeypatch.setattr("mlplora_vlm.load.card_of", lambda config: wrong)
    with pytest.raises(MendableError, match="the card names 14 language layers"):
        load_model(base, section(base, "nf4"))


def test_another_kind_than_asked_for_is_refused(base: str) -> None:
    model = load_model(base, section(base, "nf4"))
    with pytest.raises(MendableError, match="the layer is nf4"):
        check_quantized(model, CARD, section(base, "fp4"))
    with pytest.raises(MendableError, match="double-quantised and not as asked"):
        check_quantized(model, CARD, section(base, "nf4", double=False))


def test_embeddings_that_were_cast_to_fp32_are_refused(base: str) -> None:
    model = load_model(base, section(base, "nf4", dtype="bfloat16"))
    check_unchanged(model, torch.bfloat16)
    model.get_input_embeddings().float()
    with pytest.raises(MendableError, match=r"1 weights are wider than bfloat16, such as .*embed_tokens"):
        check_unchanged(model, torch.bfloat16)


def test_what_a_class_itself_keeps_in_fp32_may_be(base: str) -> None:
    weight = SimpleNamespace(is_floating_point=lambda: True, element_size=lambda: 4)
    model: Any = SimpleNamespace(
        _keep_in_fp32_modules={"router"},
        _keep_in_fp32_modules_strict=None,
        named_parameters=lambda: [("a.router.weight", weight)],
    )
    check_unchanged(model, torch.bfloat16)


@pytest.mark.parametrize(
    ("compute", "wanted"), [("auto", torch.bfloat16), ("float32", torch.float32), ("float16", torch.float16)]
)
def test_the_compute_type_is_the_sections_or_the_models(compute: Any, wanted: torch.dtype) -> None:
    settings = ModelSection(id="x", quantization="fp4", compute_dtype=compute)
    asked = quantization_config(settings, torch.bfloat16, CARD)
    assert (asked.bnb_4bit_compute_dtype, asked.bnb_4bit_quant_type) == (wanted, "fp4")


@pytest.mark.parametrize("choice", [{"double_quantization": False}, {"compute_dtype": "bfloat16"}])
@pytest.mark.parametrize("kind", ["none", "int8"])
def test_choices_of_four_bits_are_refused_elsewhere(kind: Any, choice: dict[str, Any]) -> None:
    problems = list(ModelSection(id="x", quantization=kind, **choice).problems())
    assert [key for key, _, _ in problems] == list(choice) and all(re.search("4-bit", what) for _, what, _ in problems)
    assert not list(ModelSection(id="x", quantization="nf4", **choice).problems())
