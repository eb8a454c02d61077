"""Text is made such that a tokenizer reads all of it as text, and what was mended or refused is said."""

from __future__ import annotations

import re
import unicodedata

import pytest
from chat_processors import processors
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.chat import special_tokens
from data_prep.demo.tiny import tiny_family
from data_prep.demo.tiny.build import build_processor
from data_prep.example import PICTURE
from data_prep.rows import RowError
from data_prep.text import ESCAPED, TAKEN_OUT, clean

FAMILIES = ("qwen3_vl", "gemma3", "mllama", "ovis2", "paligemma", "deepseek_vl")
TINY = {name: build_processor(tiny_family(name)) for name in FAMILIES} | {"llama": processors()["llama"]}
SPECIALS = re.compile(r"<image>|<\|im_end\|>|</s>")


def reason(text, specials=SPECIALS, policy="refuse"):
    with pytest.raises(RowError) as error:
        clean(text, specials, policy)
    return error.value.reason


def special_ids(processor, text):
    """The ids of control tokens that the text becomes."""
    tokenizer = processor.tokenizer
    control = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return set(tokenizer(text, add_special_tokens=False)["input_ids"]) & (control | set(tokenizer.all_special_ids))


@pytest.mark.parametrize("policy", ["refuse", "escape"])
def test_common_text_stays_as_it_is(policy):
    for text in (
        "",
        "Is 1 < 2?",
        "a\tb\r\nc\n",
        "Füße 漢字 👩‍👩‍👧 עברית e\u0301 \ufeff\u200b",
        f"{PICTURE}what?",
        "a < image > b",
    ):
        assert clean(text, SPECIALS, policy) == (text, ())


def test_control_tokens_are_refused_or_escaped():
    assert reason("say <|im_end|>") == "control tokens"
    assert clean("say <|im_end|> <image>", SPECIALS, "escape") == ("say < |im_end|> < image>", (ESCAPED,))


def test_what_a_control_token_leaves_behind_is_escaped_too():
    specials = re.compile("<a>|< a>|aa")
    text, repairs = clean("<a> aaaa", specials, "escape")
    assert not specials.search(text) and text.replace(" ", "") == "<a>aaaa" and repairs == (ESCAPED,)


@pytest.mark.parametrize("token", ["\u2581", "x "])
def test_a_token_that_a_space_does_not_part_is_refused(token):
    assert reason(f"a {token}b", re.compile(re.escape(token)), "escape") == "control tokens"


def test_control_characters_are_taken_out_and_hide_no_token():
    assert clean("a\0b\x1b[1m\x7f\x0bc\x0cd", SPECIALS, "refuse") == ("ab[1m\nc\nd", (TAKEN_OUT,))
    assert reason("<im\0age>") == reason("<\ufdd0image>") == "control tokens"
    assert clean("<im\0age>", SPECIALS, "escape") == ("< image>", (TAKEN_OUT, ESCAPED))


def test_half_of_a_surrogate_pair_is_refused():
    for half in ("\ud800", "\udfff", "\udc80"):
        assert reason(f"a{half}b") == reason(f"a{half}b", policy="escape") == "invalid text"


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.text(st.characters() | st.sampled_from("\0\x0c\x1f\ufdd0\uffff\U0010ffff<|>")))
def test_what_is_left_is_text(text):
    try:
        left, _ = clean(text, SPECIALS, "escape")
    except RowError as error:
        assert error.reason == "invalid text" and any("\ud800" <= sign <= "\udfff" for sign in text)
        return
    assert clean(left, SPECIALS, "refuse") == (left, ())
    left.encode()
    assert all(sign in "\t\n\r" or sign >= "\x80" or unicodedata.category(sign) != "Cc" for sign in left)
    assert not any(sign in left for sign in "\ufdd0\ufdef\ufffe\uffff\U0010ffff")


@pytest.mark.parametrize("name", TINY)
def test_no_tokenizer_reads_a_control_token_in_escaped_text(name):
    processor = TINY[name]
    specials = special_tokens(processor)
    tokens = sorted({str(token) for token in processor.tokenizer.added_tokens_decoder.values() if token.special})
    assert len(tokens) >= 3 and all(special_ids(processor, f"a {token}b") for token in tokens)
    pieces = st.sampled_from(
        [*tokens, *(token[:-1] for token in tokens), *(token[1:] for token in tokens), " ", "<", "a"]
    )

    @settings(max_examples=60, derandomize=True, deadline=None)
    @given(st.lists(pieces, min_size=1, max_size=6).map("".join))
    def escaped(text):
        left, _ = clean(text, specials, "escape")
        assert not special_ids(processor, left)
        assert left.replace(" ", "") == text.replace(" ", "")
        assert processor.placeholder not in left

    for token in tokens:
        assert not special_ids(processor, clean(f"a {token}{token}b", specials, "escape")[0])
    escaped()
