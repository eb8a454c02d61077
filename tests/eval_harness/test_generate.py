"""Answers do not hang on the batch, the order or the model's own decoding settings."""

from __future__ import annotations

from dataclasses import replace
from functools import wraps

import pytest
import torch
from PIL import Image
from tiny_llava import build_model, build_processor

from data_prep.collate import PromptCollator
from data_prep.example import Example
from data_prep.rows import RowError
from eval_harness.generate import answers, greedy, in_order
from mlplora_vlm.errors import MendableError


@pytest.fixture(scope="module")
def processor():
    return build_processor()


@pytest.fixture(scope="module")
def model(processor):
    # Larger weights than a fresh model's: answers that differ from picture to picture and from question to question
    model = build_model(processor)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(8)
    return model


@pytest.fixture(scope="module")
def examples():
    questions = (
        "why?",
        "what color is the shape?",
        "is there a very small blue circle in this image, or is there none?",
    )
    return [
        Example(
            str(number),
            tuple(
                Image.new("RGB", (20 + number, 30), (40 * number % 256, 0, 90)) for _ in range(1 if number % 4 else 2)
            ),
            questions[number % 3],
            "yes",
            ("yes",),
            "open",
        )
        for number in range(9)
    ]


def ask(model, processor, examples, batch_size=1, tokens=6):
    found = answers(model, processor, examples, "short_answer", tokens, batch_size, progress=False)
    return in_order(found, len(examples))


def test_batches_of_any_size_give_the_same_answers(model, processor, examples):
    alone = ask(model, processor, examples)
    assert len(set(alone)) > 3  # else equal answers would prove nothing
    for batch_size in (2, 4, 9, 50):
        assert ask(model, processor, examples, batch_size) == alone


def test_answers_stay_with_their_examples(model, processor, examples):
    assert ask(model, processor, examples[::-1], 4) == ask(model, processor, examples, 4)[::-1]


def test_same_tokens_as_a_greedy_loop(model, processor, examples):
    for example in examples[:3]:
        batch = PromptCollator(processor)([example])
        ids, end = batch["input_ids"], processor.tokenizer.eos_token_id
        written = []
        while len(written) < 6 and written[-1:] != [end]:
            with torch.no_grad():
                logits = model(input_ids=ids, pixel_values=batch["pixel_values"], use_cache=False).logits
            written.append(int(logits[0, -1].argmax()))
            ids = torch.cat([ids, torch.tensor([written[-1:]])], dim=1)
        expected = processor.tokenizer.decode(written, skip_special_tokens=True).strip()
        assert ask(model, processor, [example]) == [expected]


def test_stops_at_the_end_token(model, processor, examples):
    """Whatever token comes second is made the end: the answers then hold the first one alone."""
    first, both = ask(model, processor, examples[:1], tokens=1), ask(model, processor, examples[:1], tokens=2)
    assert both != first
    batch = PromptCollator(processor)(examples[:1])
    second = model.generate(**batch, max_new_tokens=2)[0, -1].item()
    own = model.generation_config.eos_token_id
    model.generation_config.eos_token_id = [own, second]
    try:
        found = processor.tokenizer.decode(model.generate(**batch, generation_config=greedy(model, processor, 6))[0])
        assert found.endswith(processor.tokenizer.decode([second]))
        assert sorted({own, second}) == greedy(model, processor, 6).eos_token_id
    finally:
        model.generation_config.eos_token_id = own


def test_the_model_s_own_sampling_and_penalties_are_off(model, processor, examples):
    expected, kept = ask(model, processor, examples, 4), model.generation_config.to_dict()
    model.generation_config.update(
        do_sample=True, temperature=5.0, top_p=0.3, top_k=3, repetition_penalty=9.0, no_repeat_ngram_size=1, num_beams=2
    )
    try:
        assert ask(model, processor, examples, 4) == expected
    finally:
        model.generation_config = type(model.generation_config).from_dict(kept)


def test_the_model_keeps_its_mode(model, processor, examples):
    model.train()
    ask(model, processor, examples[:1])
    assert model.training
    model.eval()
    ask(model, processor, examples[:1])
    assert not model.training


def test_no_examples_no_answers(model, processor):
    assert ask(model, processor, []) == []


def limited(model, monkeypatch, most, error="CUDA out of memory. Tried to allocate 2 GiB."):
    """A model that can answer ``most`` rows at once; the sizes of the batches it was given are returned."""
    sizes, real = [], model.generate

    def generate(**batch):
        sizes.append(len(batch["input_ids"]))
        if sizes[-1] > most:
            raise RuntimeError(error)
        return real(**batch)

    monkeypatch.setattr(model, "generate", generate)
    return sizes


def test_batches_that_do_not_fit_are_halved(model, processor, examples, monkeypatch, capsys):
    whole = ask(model, processor, examples, 9)
    sizes = limited(model, monkeypatch, most=2)
    assert ask(model, processor, examples, 9) == whole
    assert sizes == [9, 4, 2, 2, 2, 2, 1]
    assert "4 questions at once do not fit into memory: going on with 2" in capsys.readouterr().out


def test_one_question_that_does_not_fit_is_named(model, processor, examples, monkeypatch):
    limited(model, monkeypatch, most=0)
    with pytest.raises(MendableError, match="one question alone does not fit") as error:
        ask(model, processor, examples[:3], 2)
    assert error.value.where.startswith("row ") and "picture_tokens" in error.value.fix


def test_other_errors_are_not_mistaken_for_it(model, processor, examples, monkeypatch):
    limited(model, monkeypatch, most=2, error="shapes do not match")
    with pytest.raises(RuntimeError, match="shapes"):
        ask(model, processor, examples, 9)


def test_a_picture_with_several_questions_is_encoded_once(model, processor, examples, monkeypatch):
    questions = ("why?", "is it red?", "what is there?", "is there none at all?")
    asked = [replace(row, question=text) for row in examples[1:4] for text in questions]
    alone = ask(model, processor, asked)
    seen, real = [], model.model.get_image_features

    @wraps(real)
    def counted(pixel_values, **options):
        seen.append(len(pixel_values))
        return real(pixel_values=pixel_values, **options)

    monkeypatch.setattr(model.model, "get_image_features", counted)
    assert ask(model, processor, asked, 5) == alone  # batches that cut through a picture's questions
    assert sum(seen) == 3


def test_nothing_leaks_out_between_two_answers(model, processor, examples):
    model.train()
    for _ in answers(model, processor, examples, "short_answer", 2, 4, progress=False):
        assert model.training and torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    model.eval()


OWN = {
    "num_return_sequences": 2,
    "suppress_tokens": list(range(250)),
    "begin_suppress_tokens": list(range(250)),
    "forced_bos_token_id": 7,
    "forced_eos_token_id": 7,
    "bad_words_ids": [[number] for number in range(20, 250)],
    "sequence_bias": [[[200], 90.0]],
    "penalty_alpha": 0.6,
    "guidance_scale": 3.0,
    "num_beam_groups": 2,
    "diversity_penalty": 0.5,
    "watermarking_config": {"bias": 90.0},
    "exponential_decay_length_penalty": [0, 90.0],
    "renormalize_logits": True,
    "min_length": 3000,
    "max_time": 1e-9,
    "stop_strings": ["a"],
    "prompt_lookup_num_tokens": 2,
    "cache_implementation": "static",
    "return_dict_in_generate": True,
    "output_scores": True,
    "my_own_key": [1],
}


@pytest.mark.parametrize("name", OWN)
def test_no_setting_of_the_model_s_own_has_a_say(model, processor, examples, name):
    expected, kept = ask(model, processor, examples[:2], 2), model.generation_config
    model.generation_config = type(kept)(eos_token_id=kept.eos_token_id)
    setattr(model.generation_config, name, OWN[name])
    try:
        assert ask(model, processor, examples[:2], 2) == expected
    finally:
        model.generation_config = kept


@pytest.mark.parametrize("value", [float("nan"), 0.0])
def test_a_model_that_computes_nothing_is_named_instead_of_answering_nothing(processor, examples, value):
    broken = build_model(processor)
    broken.lm_head.weight.data.fill_(value)
    with pytest.raises(RowError, match="logits are NaN or all the same") as error:
        ask(broken, processor, examples, 4)
    assert error.value.where in {f"row {example.id}" for example in examples}
    assert error.value.reason == "model" and "float32" in error.value.fix


def test_a_row_that_the_model_fails_on_is_named(model, processor, examples, monkeypatch):
    real = model.generate

    def generate(**batch):
        if (batch["input_ids"] == model.config.image_token_id).sum(1).max() > 4:  # a row of two images
            raise ValueError("features and tokens do not match")
        return real(**batch)

    monkeypatch.setattr(model, "generate", generate)
    with pytest.raises(RowError, match="do not match") as error:
        ask(model, processor, examples, 9)
    assert error.value.where in {"row 0", "row 4", "row 8"} and error.value.reason == "model"


def test_a_row_that_the_processor_cannot_take_is_named(model, processor, examples, monkeypatch):
    real = type(processor.stock).__call__

    def call(self, text=None, **options):
        if any("very small" in one for one in text):
            raise IndexError("list index out of range")
        return real(self, text=text, **options)

    monkeypatch.setattr(type(processor.stock), "__call__", call)
    with pytest.raises(RowError, match="IndexError: list index") as error:
        PromptCollator(processor)(examples[:6])
    assert (error.value.reason, error.value.where) == ("processor", "row 2")
