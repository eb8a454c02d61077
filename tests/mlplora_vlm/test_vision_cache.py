"""A frozen vision tower is asked once a picture, and its answer does not depend on what else was asked."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mlplora_vlm.vision_cache import VisionCache


@pytest.fixture(scope="module")
def model():
    from tiny_llava import build_model, build_processor

    return build_model(build_processor()).requires_grad_(False).train()


@pytest.fixture
def pictures(model):
    side = model.config.vision_config.image_size
    return torch.rand(5, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def asked(model, monkeypatch):
    """How many pictures the tower was really asked for, call by call."""
    calls, tower = [], model.get_encoder(modality="image")
    ask = tower.forward

    def counting(pixel_values, *args, **kwargs):
        calls.append(len(pixel_values))
        return ask(pixel_values, *args, **kwargs)

    monkeypatch.setattr(tower, "forward", counting)
    return calls


def features(model, pictures):
    return torch.cat(list(model.get_image_features(pictures).pooler_output))


def test_features_are_those_without_the_cache(model, pictures):
    wanted, cache = features(model, pictures), VisionCache(model)
    with cache.used():
        first, again = features(model, pictures), features(model, pictures)
    assert torch.allclose(first, wanted, rtol=1e-5, atol=1e-6) and torch.equal(first, again)
    assert len(cache) == 5 and cache.bytes > 0
    assert torch.equal(features(model, pictures), wanted)  # outside, the tower itself answers


def test_every_picture_is_computed_once_and_alone(model, pictures, asked):
    cache = VisionCache(model)
    with cache.used():
        features(model, pictures[:3])
        features(model, pictures[[0, 4, 2, 1, 0]])
    assert asked == [1, 1, 1, 1] and len(cache) == 4


def test_features_do_not_depend_on_the_batch(model, pictures):
    tower, found = model.get_encoder(modality="image"), []
    for batch in (pictures[2:3], pictures):
        cache = VisionCache(model)
        with cache.used():
            found.append(tower(batch).last_hidden_state[0 if len(batch) == 1 else 2])
    assert torch.equal(*found)


def test_trained_tower_is_asked_every_time(model, pictures, asked):
    tower, cache = model.get_encoder(modality="image"), VisionCache(model)
    parameter = next(tower.parameters())
    parameter.requires_grad_(True)
    try:
        with cache.used():
            features(model, pictures)
            features(model, pictures)
    finally:
        parameter.requires_grad_(False)
    assert asked == [5, 5] and not len(cache)


def test_random_tower_is_asked_every_time(model, pictures, asked):
    tower = model.get_encoder(modality="image")
    tower.added = nn.Dropout(0.5)
    try:
        with VisionCache(model).used():
            features(model, pictures)
    finally:
        del tower.added
    assert asked == [5]


def test_other_questions_get_other_answers(model, pictures):
    tower, cache = model.get_encoder(modality="image"), VisionCache(model)
    with cache.used():
        two, one = (tower(pictures, output_hidden_states=layer).hidden_states for layer in (2, 1))
    assert two[2] is not None and two[1] is None and one[1] is not None


def test_no_more_than_the_limit_is_kept(model, pictures, asked):
    cache = VisionCache(model)
    with cache.used():
        features(model, pictures[:1])
    small = VisionCache(model, limit=2 * cache.bytes)
    with small.used():
        features(model, pictures)
        features(model, pictures)
    assert len(small) == 2 and small.bytes == 2 * cache.bytes
    assert len(asked) == 1 + 5 + 3


def test_forward_is_given_back_after_an_error(model):
    tower = model.get_encoder(modality="image")
    with pytest.raises(RuntimeError, match="stop"), VisionCache(model).used():
        assert "forward" in tower.__dict__
        raise RuntimeError("stop")
    assert "forward" not in tower.__dict__


def test_model_without_a_tower_of_its_own(model):
    with VisionCache(nn.Linear(2, 2)).used() as nothing:
        assert nothing is None
