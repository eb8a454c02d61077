"""What the verbs about one or two models share: how they are loaded."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from eval_harness.answerer import Answerer


def model_options(parser: argparse.ArgumentParser) -> None:
    """Options beside the word MODEL; an endpoint has settings of its own."""
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16"), default="auto", help="(%(default)s)")
    parser.add_argument("--picture-tokens", type=int, help="no picture costs more tokens than this")
    parser.add_argument("--trust-remote-code", action="store_true", help="run Python code from a model's repo")


@contextmanager
def loaded(word: str, given: argparse.Namespace) -> Iterator[Answerer]:
    """Whoever the word names, loaded as the options say; raises MendableError where they cannot be."""
    from eval_harness.models import opened
    from mlplora_vlm.errors import MendableError
    from mlplora_vlm.load import ModelSection

    settings = ModelSection(
        word, dtype=given.dtype, picture_tokens=given.picture_tokens, trust_remote_code=given.trust_remote_code
    )
    for key, what, fix in settings.problems():
        raise MendableError(what, "MODEL" if key == "id" else f"--{key.replace('_', '-')}", fix)
    with opened(word, settings) as answerer:
        yield answerer
