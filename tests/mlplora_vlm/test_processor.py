"""A stock processor with its family's card: whose chat template is used."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, replace

import pytest
import tiny_llava

from mlplora_vlm.families.processor import FamilyProcessor


def test_a_published_template_is_used_unless_it_is_missing_or_unusable():
    stock = tiny_llava.build_processor().stock
    card = replace(tiny_llava.build_processor().card, chat_template="the card's", unusable_template="role + ' '")
    for published, used in (("a good one", "a good one"), (None, "the card's"), ("{{ role + ' ' }}", "the card's")):
        stock.chat_template = published
        assert FamilyProcessor(stock, card).chat_template == used


def test_it_travels_to_a_loader_s_process_and_is_not_changed():
    processor = tiny_llava.build_processor()
    again = pickle.loads(pickle.dumps(processor))
    assert again.placeholder == "<image>" and again.tokenizer.eos_token == processor.answer_end
    with pytest.raises(FrozenInstanceError):
        processor.chat_template = "mine"
