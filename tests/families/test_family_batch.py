"""Proof 2: what the model is shown: pictures and their tokens agree, labels are the answers, nothing is cut."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_families import SIZES, example

from data_prep.collate import IGNORED, PromptCollator, TrainCollator
from data_prep.lengths import PictureTokens, token_length, usable

PROMPTS = Path(__file__).with_name("prompts.json")
ROWS = [
    example(0, (50, 33), answer="a red circle"),
    example(1, (97, 41), (20, 64), question="what shape is present? is there a red shape?", answer="yes"),
    example(2, question="is no triangle present?", answer="no, none"),
    example(3, (64, 64), answer="blue"),
]


def learnt(processor, batch):
    return [processor.tokenizer.decode(row[row != IGNORED]) for row in batch["labels"]]


def test_labels_are_the_answers_and_the_end_of_the_turn(tiny):
    processor = tiny.processor
    batch = TrainCollator(processor)(ROWS)
    assert [text.strip() for text in learnt(processor, batch)] == [row.answer + processor.answer_end for row in ROWS]
    seen = batch["labels"] != IGNORED
    assert torch.equal(batch["input_ids"][seen], batch["labels"][seen])


def test_what_training_shows_before_the_answer_is_what_generation_asks(tiny):
    for row in ROWS:
        trained = TrainCollator(tiny.processor)([row])
        asked = PromptCollator(tiny.processor)([row])["input_ids"][0].tolist()
        ids = trained["input_ids"][0].tolist()
        start = int((trained["labels"][0] != IGNORED).nonzero()[0])
        assert ids[:start] == asked


def test_every_size_of_picture_agrees_with_its_tokens(tiny):
    model, counts = tiny.model(), PictureTokens(tiny.processor)
    for number, size in enumerate(SIZES):
        row = example(number, size)
        batch = TrainCollator(tiny.processor)([row])
        with torch.no_grad():
            assert model(**batch).loss.isfinite()  # transformers compares picture tokens and features
        assert int(batch["attention_mask"].sum()) == token_length(tiny.processor, row, "short_answer", counts)


def test_a_row_does_not_depend_on_its_neighbours(tiny):
    model = tiny.model()
    rows = ROWS if not tiny.card.same_count else [row for row in ROWS if len(row.images) == 1]
    together = TrainCollator(tiny.processor)(rows)
    with torch.no_grad():
        logits = model(**together).logits
        for number, row in enumerate(rows):
            alone = TrainCollator(tiny.processor)([row])
            length = int(alone["attention_mask"][0].sum())
            single = model(**alone).logits[0, :length]
            assert (logits[number, :length] - single).abs().max() <= 1e-4 * single.abs().max()


def test_a_long_text_is_left_out_and_never_cut(tiny):
    long = example(9, (50, 33), question="is there a red shape? " * 300)
    batch = TrainCollator(tiny.processor)([long])
    length = token_length(tiny.processor, long, "short_answer")
    assert batch["input_ids"].shape[1] == length > 1500
    kept, left_out = usable([*ROWS, long], tiny.processor, "short_answer", 400, progress=False)
    assert [row.id for row in kept] == [row.id for row in ROWS] and left_out == {"more than 400 tokens": 1}


def test_text_rows_alone_still_run_every_module(tiny):
    batch = TrainCollator(tiny.processor)([ROWS[2]])
    assert len(batch["input_ids"]) == 2 and (batch["labels"][1] == IGNORED).all()
    model = tiny.model()
    with torch.no_grad():
        together, alone = model(**batch).loss, model(**TrainCollator(tiny.processor)([ROWS[2], ROWS[3]])).loss
    assert together.isfinite() and alone.isfinite()


def test_the_prompt_is_the_one_that_was_agreed(tiny):
    prompts = json.loads(PROMPTS.read_text(encoding="utf-8"))
    assert prompts[tiny.card.model_type] == PromptCollator(tiny.processor).text(ROWS[1])


def test_the_card_counts_a_picture_as_the_processor_does(tiny):
    counts = PictureTokens(tiny.processor)
    found = {size: tiny.card.pictures.tokens(tiny.processor.stock, *size) for size in SIZES}
    assert found == {size: counts(example(0, size).images[0]) for size in SIZES}


def test_a_bound_is_kept_or_refused(tiny):
    from mlplora_vlm.errors import MendableError
    from mlplora_vlm.load import load_processor

    most = tiny.card.pictures.most(tiny.processor.stock)
    for limit in (most, most - 1, 1 + most // 2, 1):
        from dataclasses import replace

        try:
            processor = load_processor(tiny.folder, replace(tiny.section, picture_tokens=limit))
        except MendableError as error:
            assert limit < most and "picture_tokens" in str(error)
            continue
        counts = PictureTokens(processor)
        assert max(counts(example(0, size).images[0]) for size in SIZES) <= limit


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
