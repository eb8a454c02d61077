"""Conversations: every turn is asked in the prompt's words and checked, and prompt and question have to fit."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from PIL import Image

from data_prep.chat import check_text, messages
from data_prep.collate import IGNORED, PromptCollator, TrainCollator
from data_prep.demo.tiny import tiny_family
from data_prep.demo.tiny.build import build_processor
from data_prep.example import Example
from data_prep.rows import RowError
from mlplora_vlm.errors import MendableError


def example(question="what is it?", answer="a cat", earlier=(), pictures=1):
    pixels = tuple(Image.new("RGB", (8, 8)) for _ in range(pictures))
    return Example("row/7", pixels, question, answer, (answer,), "open", earlier)


def test_pictures_stand_before_the_first_of_several_turns():
    chat = messages(example("and now? ", "d\n", ((" a? ", " b "), ("c?", "c")), pictures=2), "as_written")
    assert [message["role"] for message in chat] == ["user", "assistant"] * 3
    texts = [message["content"][-1]["text"] for message in chat]
    assert texts == ["a?", "b", "c?", "c", "and now?", "d"]
    assert [len(message["content"]) for message in chat] == [3, 1, 1, 1, 1, 1]


def test_every_question_is_asked_in_the_prompts_words():
    chat = messages(example(earlier=(("a?", "b"),)), "short_answer")
    assert all(user["content"][-1]["text"].endswith("word or phrase.") for user in chat[::2])


@pytest.mark.parametrize(
    ("prompt", "question", "says"),
    [("caption", "what is it?", "leave out the question 'what is it"), ("short_answer", " ", "needs a question")],
)
def test_a_prompt_and_a_question_that_do_not_fit_are_named_with_the_row(prompt, question, says):
    with pytest.raises(MendableError, match=says) as error:
        messages(example(question), prompt)
    assert error.value.where == "row row/7"


def test_a_prompt_may_say_it_all_and_a_picture_may_stand_alone():
    assert messages(example(""), "caption")[0]["content"][-1]["text"].startswith("Provide a one-sentence caption")
    assert messages(example(""), "car_model")[0]["content"][-1]["text"].startswith("Which car is this?")
    assert messages(example(" "), "as_written")[0]["content"] == [{"type": "image"}]


def test_braces_in_a_question_are_text():
    assert messages(example("{question} {0}?"), "as_written")[0]["content"][-1]["text"] == "{question} {0}?"


def test_turns_are_in_order_and_the_rows_own_is_the_last():
    assert example(earlier=(("a?", "b"),)).turns == (("a?", "b"), ("what is it?", "a cat"))
    assert example().turns == (("what is it?", "a cat"),)


@pytest.mark.parametrize("text", ["an <image> more", "\ud800"])
@pytest.mark.parametrize("turn", range(5))
def test_control_tokens_are_found_in_every_turn(text, turn):
    texts, specials = ["a?", "b", "c?", "d", "s"], re.compile("<image>")
    check_text(_conversation(texts), specials)
    texts[turn] = text
    with pytest.raises(RowError) as error:
        check_text(_conversation(texts), specials)
    assert error.value.where == "row row/7"


def _conversation(texts):
    return replace(example(texts[2], texts[3], ((texts[0], texts[1]),)), system=texts[4])


@pytest.fixture(scope="module")
def processor():
    return build_processor(tiny_family("llava"))


def test_every_answer_is_learnt_and_no_question(processor):
    row = example("and now?", "d d", (("a?", "b b"), ("c?", "c")))
    batch = TrainCollator(processor, "as_written")([row])
    learnt = batch["input_ids"][batch["labels"] != IGNORED]
    end = processor.answer_end
    assert "".join(processor.tokenizer.decode(learnt).split()) == f"bb{end}c{end}dd{end}"


def test_the_last_question_is_asked_after_the_earlier_turns(processor):
    row = example("and now?", "secret", (("a?", "b b"),))
    text = PromptCollator(processor, "as_written").text(row)
    assert text.index("a?") < text.index("b b") < text.index("and now?") and "secret" not in text
    assert text.index(processor.placeholder) < text.index("a?")
