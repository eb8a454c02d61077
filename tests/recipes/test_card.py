"""The model card: metadata that the hub's client reads back, every figure from the result, nothing broken by names."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from eval_harness.numbers import duration
from mlplora_vlm.families.card import card_for, known_families
from mlplora_vlm.licence import Licence
from recipes.card import Subject, model_card

RESULT = Path(__file__).parents[2] / "docs" / "demo" / "result.json"
HOSTILE = "---\nlicense: mit\n---\n# <b>|*x*|`y`| [z](http://evil) \u202e: & 'q' \"d\" {{ 7*7 }} {% raw %}"


@pytest.fixture
def result():
    return json.loads(RESULT.read_text())


@pytest.fixture
def subject():
    return Subject("merged", "me/tuned", "some/base", Licence("apache-2.0"), card_for("llava"), "me/tuned-adapter")


def test_metadata_says_what_it_is_and_what_it_scored(result, subject):
    data = ModelCard(model_card(result, subject)).data
    assert (data.base_model, data.base_model_relation, data.library_name) == ("some/base", "finetune", "transformers")
    assert (data.license, data.pipeline_tag, data.mlplora_vlm["base"]) == (
        "apache-2.0",
        "image-text-to-text",
        "some/base",
    )
    overall, free, closed = data.eval_results
    assert (overall.metric_type, overall.metric_value, overall.dataset_name) == ("exact_match", 0.904, "Easy-VQA")
    assert overall.metric_args == {
        "n": 1000,
        "interval_95": [0.8842, 0.922],
        "category": "overall",
        "before": {"value": 0.0, "interval_95": [0.0, 0.0038]},
    }
    assert (free.metric_value, closed.metric_value) == (0.996, 0.812)
    adapter = ModelCard(model_card(result, replace(subject, kind="adapter"))).data
    assert (adapter.library_name, adapter.base_model_relation) == ("peft", "adapter")


def test_the_page_has_every_part_of_the_result(result, subject):
    text = model_card(result, subject)
    for part in (
        *("N = 1,000", "90.4\u00a0% (88.4–92.2)", "47.0\u00a0% (43.9–50.1)", "The model looks at the pictures"),
        *(
            f"{result['verify']['merge_error']:.1e}".replace("e-0", "e-"),
            "0 of 128 differ",
            "2412.10362",
            "3.3\u00a0GiB",
            duration(sum(result["seconds"].values())),
            "210 language, 2 projector",
        ),
        *("| generator hidden | 32 |", "| adapter rank | 8 |", "82,053,760", "[Easy-VQA]", "| MIT |", "Victor Zhou"),
        *("vllm serve me/tuned", "from_pretrained('me/tuned'", "within the intervals: yes/no", "me/tuned-adapter"),
    ):
        assert part in text, part


def test_an_adapter_is_served_with_the_flags_that_its_parts_need(result, subject):
    adapter = replace(subject, kind="adapter", repo="me/a")
    text = model_card(result, adapter)
    assert "vllm serve some/base --enable-lora --max-lora-rank 8 --enable-tower-connector-lora" in text
    assert "--lora-modules tuned=me/a" in text and "without a word" in text
    section = result["recipe"]["resolved"]["adapter"]
    section["on"], section["kind"], section["rank"] = ["language"], "pissa", 12
    text = model_card(result, adapter)
    assert "--max-lora-rank 32 " in text and "vllm serve some/base --enable-lora --max-lora-rank 32 \\" in text
    section["kind"] = "dora"
    assert "vLLM does not serve DoRA as an adapter" in model_card(result, adapter)
    section["kind"], section["full"] = "lora", ["projector"]
    assert "trained in full as an adapter: serve the merged model" in model_card(result, adapter)


def test_a_four_bit_base_is_loaded_as_it_was_trained(result, subject):
    result["recipe"]["resolved"]["model"] |= {"quantization": "nf4", "revision": "abc123"}
    text = model_card(result, replace(subject, kind="adapter"))
    assert 'bnb_4bit_quant_type="nf4"' in text and "'model.vision_tower'" in text and "revision='abc123'" in text
    lines = text.split("```python\n")[1].split("```")[0]
    compile(lines, "card", "exec")
    assert "trained on the quantised base" in text


def test_a_merge_into_other_weights_says_how_far_it_is(result, subject):
    assert "dequantised" not in model_card(result, subject)
    result["verify"] |= {"base": "dequantized", "faithful": True, "trained_error": 1e-6}
    text = model_card(result, subject)
    assert "the very 4-bit weights" in text and "was not scored itself" not in text
    result["verify"] |= {"base": "original", "faithful": False, "trained_error": 0.084}
    text = model_card(result, subject)
    assert "logits are 8.4e-2 from the trained model's" in text and "was not scored itself" in text
    assert "was not scored itself" not in model_card(result, replace(subject, kind="adapter"))


@pytest.mark.parametrize("kind", ["adapter", "merged"])
def test_what_was_learnt_by_heart_is_never_shown_as_a_score(result, subject, kind):
    result["scores"]["after"]["by_heart"] = True
    result["scores"]["before"]["by_heart"] = True
    text = model_card(result, replace(subject, kind=kind))
    data = ModelCard(text).data
    assert data.eval_results is None and "model-index" not in text and data.metrics is None
    assert "90.4" not in text and "0.904" not in text and "**No score.**" in text
    assert "of no use but to test software" in text


def poisoned(value):
    """Every text of the result is hostile, and so is every key that comes from data."""
    if isinstance(value, dict):
        return {key: poisoned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [poisoned(item) for item in value]
    return HOSTILE if isinstance(value, str) else value


def test_no_name_from_outside_breaks_the_page_or_the_metadata(result, subject):
    bad = poisoned(copy.deepcopy(result))
    for when in ("before", "after"):
        bad["scores"][when]["scores"] = {
            "overall": result["scores"][when]["scores"]["overall"],
            HOSTILE: {"score": 0.5, "n": 7},
        }
    bad["adapted_layers"] = {HOSTILE: 3}
    bad["recipe"]["resolved"]["data"]["mixed_with"] = {HOSTILE: {"source": HOSTILE, "split": HOSTILE}}
    bad["recipe"]["resolved"]["adapter"] = result["recipe"]["resolved"]["adapter"]
    licence = Licence("other", HOSTILE, "https://x/(y)>")
    good, text = model_card(result, subject), model_card(bad, replace(subject, licence=licence))
    data = ModelCard(text).data
    assert data.license == "other" and data.license_name == HOSTILE
    assert data.eval_results[1].metric_args["category"] == HOSTILE
    parser = MarkdownIt("gfm-like", {"linkify": False, "html": True})
    body, wanted = (parser.parse(ModelCard(one).text) for one in (text, good))
    headings = [
        [t.content for t, before in zip(all_[1:], all_, strict=False) if before.type == "heading_open"]
        for all_ in (body, wanted)
    ]
    assert headings[0] == headings[1], "no heading more than the template's"
    kinds = {token.type for token in body} | {child.type for token in body for child in token.children or ()}
    assert not kinds & {"html_block", "html_inline", "image", "hr"}
    links = [child.attrs["href"] for token in body for child in token.children or () if child.type == "link_open"]
    assert not [address for address in links if "evil" in address]
    assert "{{ 7" in text, "a template in a name is not run"


def test_a_licence_of_its_own_is_linked(result, subject):
    licence = Licence("other", "my-own", "https://example.org/licence")
    text = model_card(result, replace(subject, licence=licence))
    assert "license_name: my-own" in text and "[my-own](<https://example.org/licence>)" in text


def test_the_plainest_result_gives_a_card_too(subject):
    bare = {"recipe": {"name": "x", "resolved": {"adapter": {"kind": "lora"}}}, "verify": {}, "scores": {}}
    text = model_card(bare, subject)
    assert ModelCard(text).data.eval_results is None and "Nothing was measured." in text


@pytest.mark.parametrize("model_type", sorted(known_families()))
def test_every_family_has_a_card(result, subject, model_type):
    for kind in ("adapter", "merged"):
        text = model_card(result, replace(subject, family=card_for(model_type), kind=kind))
        assert ModelCard(text).data.base_model == "some/base"


def test_own_data_is_named_without_its_place(result, subject):
    data = result["recipe"]["resolved"]["data"]
    data |= {
        "source": "messages",
        "folder": "/data/secret",
        "mixed_with": {"more": {"source": "vqav2", "split": "train"}},
    }
    text = model_card(result, subject)
    assert "messages: own data" in text and "/data/secret" not in text and "[VQAv2]" in text and "Goyal et al." in text
    data |= {"source": "hub", "repo": "someone/pictures"}
    text = model_card(result, subject)
    assert ModelCard(text).data.datasets == ["someone/pictures"] and "huggingface.co/datasets/someone/pictures" in text
