"""A picture that a batch shows several times is encoded once, and no logit tells: in every family that can take it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_families import FAMILIES, example, family

from data_prep.collate import PromptCollator
from data_prep.images import open_image
from eval_harness.controls import PictureKeys
from eval_harness.generate import greedy
from mlplora_vlm.picture_features import PictureFeatures

UNABLE = {"mllama"}
"""Its pictures meet the text in cross-attention, and transformers takes no encoded ones."""
BOUND = 1e-5


def rows():
    """Five questions about three pictures of different sizes, one of them shown in two rows that do not touch."""
    one, two, three = example(0, (50, 33)), example(1, (97, 41)), example(2, (33, 60))
    ask = ("why?", "what color is the large shape in this image, or is there none?")
    return [one, replace(two, question=ask[0]), replace(one, question=ask[1]), three, replace(one, question=ask[0])]


def logits(model, tiny, batch):
    decoding = greedy(model, tiny.processor, 3)
    decoding.eos_token_id = None  # random models end at once
    with torch.inference_mode():
        found = model.generate(**batch, generation_config=decoding, output_logits=True, return_dict_in_generate=True)
    return torch.stack(found.logits)


@pytest.mark.parametrize("name", FAMILIES)
def test_no_logit_changes(name: str):
    tiny, key = family(name), PictureKeys()
    model, collate, asked = tiny.model(), PromptCollator(tiny.processor), rows()
    pictures = {key(picture): picture for row in asked for picture in row.images}
    features = PictureFeatures(model, tiny.processor)

    def reused(some):
        shown = [[*map(key, row.images)] for row in some]
        with torch.inference_mode():
            return features.put_in(collate(some), shown, lambda name: open_image(pictures[name]))

    first, plain = reused(asked), collate(asked)
    if name in UNABLE:
        assert "pixel_values" in first and features.encoded == 0
        return
    assert "pixel_values" not in first and (features.encoded, features.shown) == (3, 5)
    wanted = logits(model, tiny, plain)
    assert (logits(model, tiny, first) - wanted).abs().max() <= BOUND * wanted.abs().max()
    again = reused([asked[3], asked[1]])  # both were in the last batch
    assert (features.encoded, features.shown) == (3, 7)
    wanted = logits(model, tiny, collate([asked[3], asked[1]]))
    assert (logits(model, tiny, again) - wanted).abs().max() <= BOUND * wanted.abs().max()


def test_pictures_that_are_shown_once_go_the_usual_way():
    tiny, key = family("llava"), PictureKeys()
    asked = rows()[:2]
    features = PictureFeatures(tiny.model(), tiny.processor)
    batch = PromptCollator(tiny.processor)(asked)
    found = features.put_in(batch, [[*map(key, row.images)] for row in asked], lambda name: pytest.fail("opened"))
    assert found.keys() == batch.keys() and features.shown == 0
    text = PromptCollator(tiny.processor)([replace(asked[0], images=())])
    assert features.put_in(text, [[]], lambda name: pytest.fail("opened")).keys() == text.keys()


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "llava_onevision"])
def test_rows_of_several_pictures(name: str):
    """Where pictures cost otherwise together than alone (LLaVA-OneVision), rows of several go the usual way."""
    tiny, key = family(name), PictureKeys()
    two = example(0, (50, 33), (64, 40))
    asked = [two, replace(two, question="why?", images=two.images[::-1])]
    pictures = {key(picture): picture for picture in two.images}
    model, features = tiny.model(), PictureFeatures(tiny.model(), tiny.processor)
    batch = PromptCollator(tiny.processor)(asked)
    with torch.inference_mode():
        found = features.put_in(batch, [[*map(key, row.images)] for row in asked], pictures.__getitem__)
    assert features.encoded == (0 if tiny.card.counted_together else 2)
    wanted = logits(model, tiny, batch)
    assert (logits(model, tiny, found) - wanted).abs().max() <= BOUND * wanted.abs().max()
