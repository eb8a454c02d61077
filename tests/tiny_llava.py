"""The tiny LLaVA under short names, for the tests that need some model of the real class."""

from __future__ import annotations

from data_prep.demo.tiny import build as tiny
from data_prep.demo.tiny.llava import TINY

TEXT = tiny.TEXT


def build(folder, seed=0):
    return tiny.build(folder, TINY, seed)


def build_processor():
    return tiny.build_processor(TINY)


def build_model(processor, seed=0):
    return tiny.build_model(TINY, processor, seed)
