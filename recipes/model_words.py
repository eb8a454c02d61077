"""What the verbs about any model share: how it is loaded, where it is loaded here."""

from __future__ import annotations

import argparse

from eval_harness.answerer import Answerer

MODEL = "a hub id, a folder with a model or an adapter, or http://host:port/v1#model"


def model_options(parser: argparse.ArgumentParser) -> None:
    """Options beside the word MODEL; an endpoint has settings of its own."""
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16"), help="precision")
    parser.add_argument("--quantization", default="none", choices=("none", "nf4"), help="nf4: 4-bit weights")
    parser.add_argument("--picture-tokens", type=int, help="no picture costs more tokens than this")
    parser.add_argument("--trust-remote-code", action="store_true", help="runs Python code from the model's repo")


def opened(word: str, given: argparse.Namespace) -> Answerer:
    """Whoever the word means, loaded as the options say."""
    from eval_harness.models import open_answerer
    from mlplora_vlm.errors import MendableError
    from mlplora_vlm.load import ModelSection

    settings = ModelSection(
        word,
        dtype=given.dtype,
        quantization=given.quantization,
        picture_tokens=given.picture_tokens,
        trust_remote_code=given.trust_remote_code,
    )
    for key, what, fix in settings.problems():
        raise MendableError(what, f"--{key.replace('_', '-')}" if key != "id" else "MODEL", fix)
    return open_answerer(word, settings)
