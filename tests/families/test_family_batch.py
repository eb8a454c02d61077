"""Proof 2: what the model is shown: pictures and their tokens agree, labels are the answers, nothing is cut."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_families import SIZES, example

from data_prep.chat import special_tokens
from data_prep.check import RowCheck
from data_prep.collate import IGNORED, PromptCollator, TrainCollator
from data_prep.example import PICTURE
from data_prep.lengths import PictureTokens
from data_prep.record import to_record
from data_prep.rows import RowError
from data_prep.section import DataSection
from mlplora_vlm.errors import MendableError
from mlplora_vlm.load import load_processor
from mlplora_vlm.vision_cache import VisionCache

PROMPTS = Path(__file__).with_name("prompts.json")
ROWS = [
    example(0, (50, 33), answer="a red circle"),
    example(1, (97, 41), (20, 64), question="what shape is present? is there a red shape?", answer="yes"),
    example(2, question="is no triangle present?", answer="no, none"),
    example(3, (64, 64), answer="blue"),
]


def learnt(processor, batch, **options):
    return [processor.tokenizer.decode(row[row != IGNORED], **options).strip() for row in batch["labels"]]


def checked(processor, *rows, **settings):
    """The rows' records, as preparing a set leaves them."""
    return RowCheck(processor, DataSection("tests", **settings)).records([to_record(row, "tests") for row in rows])


def runs(processor, labels):
    """The text of each stretch of labels."""
    found, last = [], -2
    for place in (labels != IGNORED).nonzero()[:, 0].tolist():
        if place > last + 1:
            found.append([])
        found[-1].append(int(labels[place]))
        last = place
    return [processor.tokenizer.decode(ids) for ids in found]


NO_LATER_PICTURES = {"molmo2"}
"""Their templates write every picture before the first turn, whichever turn it belongs to."""


def test_labels_are_every_answer_of_a_conversation_wherever_its_pictures_stand(tiny):
    processor, end = tiny.processor, tiny.processor.answer_end
    first, second = (f"is it {PICTURE} or that?", "no, none"), (f"{PICTURE} and what color now?", "a red circle")
    rows = [
        replace(
            example(0, (50, 33), (20, 64), question=second[0], answer=second[1]), earlier=(first,), system="be blue"
        ),
        replace(example(1, (64, 64), question="and now?", answer="yes"), earlier=(("what?", "blue"), ("no?", "no"))),
        example(2, (97, 41), (20, 64), question=f"what is on {PICTURE} and on {PICTURE} here?", answer="yes"),
    ]
    if tiny.card.model_type in NO_LATER_PICTURES:
        with pytest.raises(RowError, match="turn by turn"):
            TrainCollator(processor, "as_written")(rows[:1])
        rows = rows[1:]
    batch = TrainCollator(processor, "as_written")(rows)
    for row, labels in zip(rows, batch["labels"], strict=True):
        for text, (_, answer) in zip(runs(processor, labels), row.turns, strict=True):
            before = text.strip().removesuffix(answer + end)
            assert text.strip().endswith(answer + end) and not special_tokens(processor).sub("", before).strip()
    lengths = [record["length"] for record in checked(processor, *rows, prompt="as_written", max_length=10**6)]
    assert lengths == batch["attention_mask"].sum(1).tolist()


def test_labels_are_the_answers_and_the_end_of_the_turn(tiny):
    processor = tiny.processor
    batch = TrainCollator(processor)(ROWS)
    assert learnt(processor, batch, skip_special_tokens=True) == [row.answer for row in ROWS]
    for text, row in zip(learnt(processor, batch), ROWS, strict=True):
        assert text.endswith(row.answer + processor.answer_end)
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
    model = tiny.model()
    for number, size in enumerate(SIZES):
        row = example(number, size)
        batch = TrainCollator(tiny.processor)([row])
        with torch.no_grad():
            assert model(**batch).loss.isfinite()  # transformers compares picture tokens and features
        assert int(batch["attention_mask"].sum()) == checked(tiny.processor, row)[0]["length"]


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


def test_no_prompt_sees_its_answer(tiny):
    model = tiny.model()
    batch = TrainCollator(tiny.processor)([ROWS[1]])
    start = int((batch["labels"][0] != IGNORED).nonzero()[0])
    changed = batch["input_ids"].clone()
    changed[0, start] = tiny.processor.tokenizer("?", add_special_tokens=False)["input_ids"][0]
    with torch.no_grad():
        logits, others = model(**batch).logits[0], model(**batch | {"input_ids": changed}).logits[0]
    assert torch.equal(logits[:start], others[:start]) and not torch.equal(logits[start:], others[start:])


def test_a_picture_that_is_remembered_is_the_same(tiny):
    model = tiny.model().requires_grad_(False)
    batch = TrainCollator(tiny.processor)([ROWS[0], ROWS[3]])
    with torch.no_grad():
        wanted, cache = model(**batch).logits, VisionCache(model)
        for _ in range(2):
            with cache.used():
                got = model(**batch).logits
            assert (got - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def test_a_long_text_is_left_out_and_never_cut(tiny):
    long = example(9, (50, 33), question="is there a red shape? " * 300)
    batch = TrainCollator(tiny.processor)([long])
    (whole,) = checked(tiny.processor, long, max_length=10**6)
    assert batch["input_ids"].shape[1] == whole["length"] > 1500
    records = checked(tiny.processor, *ROWS, long, max_length=400)
    assert [record["reason"] for record in records] == [None] * len(ROWS) + ["too long"]


def test_text_rows_alone_still_run_every_module(tiny):
    batch = TrainCollator(tiny.processor)([ROWS[2]])
    assert len(batch["input_ids"]) == 2 and (batch["labels"][1] == IGNORED).all()
    model = tiny.model()
    with torch.no_grad():
        together, alone = model(**batch).loss, model(**TrainCollator(tiny.processor)([ROWS[2], ROWS[3]])).loss
    assert together.isfinite() and alone.isfinite()


def test_the_prompt_is_the_one_that_was_agreed(tiny):
    prompts = json.loads(PROMPTS.read_text(encoding="utf-8"))
    assert PromptCollator(tiny.processor).text(ROWS[1]) == prompts.get(tiny.card.model_type)


def test_the_card_counts_a_picture_as_the_processor_does(tiny):
    counts = PictureTokens(tiny.processor)
    found = {size: tiny.card.pictures.tokens(tiny.processor.stock, *size) for size in SIZES}
    assert found == {size: counts(example(0, size).images) for size in SIZES}


def test_a_bound_is_kept_or_refused(tiny):
    most = tiny.card.pictures.most(tiny.processor.stock)
    for limit in (most, most - 1, 1 + most // 2, 1):
        try:
            processor = load_processor(tiny.folder, replace(tiny.section, picture_tokens=limit))
        except MendableError as error:
            assert limit < most and "picture_tokens" in str(error)
            continue
        counts = PictureTokens(processor)
        assert max(counts(example(0, size).images) for size in SIZES) <= limit


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
