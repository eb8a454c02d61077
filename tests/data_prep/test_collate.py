"""Batches: labels cover the answers and nothing else, pictures fit their tokens, prompts are as trained on."""

from __future__ import annotations

import pytest
import torch
from chat_processors import processors
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_llava import build_model

from data_prep.chat import special_tokens
from data_prep.collate import IGNORED, PromptCollator, TrainCollator
from data_prep.example import PICTURE, Example
from data_prep.labels import carried_over
from mlplora_vlm.errors import MendableError

PROCESSORS = processors()
TOKENS_OF_A_PICTURE = 4


def example(question="what is it?", answer="red", pictures=1, name="row"):
    images = tuple(Image.new("RGB", (30 + i, 20), "red") for i in range(pictures))
    return Example(name, images, question, answer, (answer,), "open")


def is_text(text):
    """Nothing in it is a control token, Llama's sign for a space, or ours for a picture."""
    return not {"▁", PICTURE} & set(text) and not any(special_tokens(p).search(text) for p in PROCESSORS.values())


texts = st.text(max_size=30).filter(is_text)


written = texts.filter(str.strip)


@pytest.mark.parametrize("name", PROCESSORS)
@settings(deadline=None, max_examples=150)
@given(rows=st.lists(st.tuples(written, written, st.integers(0, 2)), min_size=1, max_size=4))
def test_labels_cover_only_answers(name, rows):
    processor = PROCESSORS[name]
    examples = [example(*row, name=str(number)) for number, row in enumerate(rows)]
    batch = TrainCollator(processor)(examples)
    tokenizer = processor.tokenizer
    image_id = processor.image_token_id
    assert batch["pixel_values"].shape[0] == max(1, sum(pictures for *_, pictures in rows))
    assert int((batch["input_ids"] == image_id).sum()) == TOKENS_OF_A_PICTURE * batch["pixel_values"].shape[0]
    for ids, labels, mask, (_, answer, _) in zip(
        batch["input_ids"], batch["labels"], batch["attention_mask"], rows, strict=False
    ):
        learnt = labels != IGNORED
        assert torch.equal(labels[learnt], ids[learnt])
        assert not mask[: int(mask.sum())].eq(0).any()  # padded on the right alone
        assert not learnt[mask == 0].any() and not (labels == image_id).any()
        written = tokenizer.decode(labels[learnt])
        # "llava-hf" has a space of the template's before it, which nobody else writes when an answer is generated
        assert written == (" " if name == "llava-hf" else "") + answer.strip() + tokenizer.eos_token


@pytest.mark.parametrize("name", PROCESSORS)
@settings(deadline=None, max_examples=100)
@given(question=written, answer=st.sampled_from(["red", "5", "é", "\u00a0x", ": )", "'s", "\U0001f600"]))
def test_prompts_are_the_tokens_that_training_begins_with(name, question, answer):
    row = example(question, answer)
    trained = TrainCollator(PROCESSORS[name])([row])
    asked = PromptCollator(PROCESSORS[name])([row])["input_ids"][0]
    assert torch.equal(trained["input_ids"][0, : len(asked)], asked)
    first_label = int((trained["labels"][0] != IGNORED).nonzero()[0])
    assert first_label == len(asked)  # what follows the prompt is learnt, from its first token on


def test_prompts_are_padded_on_the_left():
    rows = [example("why?"), example("what colour is this shape in the picture, please?", pictures=2)]
    batch = PromptCollator(PROCESSORS["chatml"])(rows)
    assert set(batch) == {"input_ids", "attention_mask", "pixel_values"}
    assert batch["attention_mask"][0].tolist() == sorted(batch["attention_mask"][0].tolist())
    assert batch["attention_mask"][1].all()


def test_rows_of_text_alone_bring_a_picture_that_changes_nothing():
    processor = PROCESSORS["chatml"]
    model = build_model(processor)
    rows = [example("why?", "so", pictures=0), example("is it?", "yes no", pictures=0)]
    batch = TrainCollator(processor)(rows)
    assert batch["input_ids"].shape[0] == 3 and (batch["labels"][2] == IGNORED).all()
    loss = model(**batch).loss
    loss.backward()
    tower = [parameter for name, parameter in model.named_parameters() if "projector" in name]
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in tower)
    text_only = {key: batch[key][:2] for key in ("input_ids", "attention_mask", "labels")}
    torch.testing.assert_close(loss, model(**text_only).loss)


def test_rows_with_and_without_pictures_share_a_batch():
    processor = PROCESSORS["chatml"]
    model = build_model(processor)
    rows = [example(pictures=0), example("and this?", "blue", pictures=2)]
    together = model(**TrainCollator(processor)(rows))
    alone = model(**TrainCollator(processor)(rows[1:]))
    torch.testing.assert_close(together.logits[1, : alone.logits.shape[1]], alone.logits[0], rtol=1e-4, atol=1e-5)


def test_control_tokens_and_empty_answers_name_the_row():
    for row in (example("<image>", name="row 3"), example(answer="<|im_end|>", name="row 3")):
        with pytest.raises(MendableError, match="row 3"):
            TrainCollator(PROCESSORS["chatml"])([row])
        with pytest.raises(MendableError, match="row 3"):
            PromptCollator(PROCESSORS["chatml"])([row])


def test_template_without_placeholder_is_refused():
    processor = processors()["llava-hf"]
    processor.stock.chat_template = processor.chat_template.replace("<image>", "")
    with pytest.raises(MendableError, match="0 picture placeholders for 1 pictures"):
        TrainCollator(processor)([example()])


def test_answers_that_run_together_with_the_prompt_are_refused():
    processor = processors()["llava-hf"]
    processor.stock.chat_template = processor.chat_template.replace("'ASSISTANT:'", "'ASSISTANT: r'").replace(
        "message['role'].upper() + ': '",
        "message['role'].upper() + ': ' + ('r' if message['role'] == 'assistant' else '')",
    )
    with pytest.raises(MendableError, match="runs together"):
        TrainCollator(processor)([example(answer="ectangle")])


def test_labels_are_carried_over_whatever_stands_around_a_picture():
    ids, mask = [1, 9, 4, 2, 3], [False, False, False, True, True]
    for wide in ([1, 9, 9, 9, 4, 2, 3], [1, 7, 9, 8, 9, 7, 4, 2, 3], ids):
        assert carried_over(ids, mask, wide, "row") == [False] * (len(wide) - 2) + [True] * 2
    for cut in ([1, 9, 9, 4, 2], [1, 9, 4, 3], [1, 9, 5, 2, 3]):
        with pytest.raises(MendableError, match="row"):
            carried_over(ids, mask, cut, "row")
    assert carried_over([1, 9], [False, False], [1, 9, 9, 9], "row") == [False] * 4


def test_labels_are_carried_over_between_pictures_too():
    ids = [1, 9, 4, 5, 2, 6, 9, 4, 7, 2]  # 9 stands for a picture, 2 ends a turn
    mask = [False] * 3 + [True, True] + [False] * 3 + [True, True]
    wide = [1, 8, 9, 9, 4, 5, 2, 6, 8, 9, 9, 8, 4, 7, 2]
    assert carried_over(ids, mask, wide, "row") == [token in (5, 7, 2) for token in wide]
    with pytest.raises(MendableError, match="row"):
        carried_over(ids, mask, [1, 9, 9, 4, 3, 2, 6, 9, 9, 4, 7, 2], "row")
