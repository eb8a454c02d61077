"""Which tokens the model learns to write: found on the text alone, then carried over to the widened pictures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from mlplora_vlm.errors import MendableError

Spans = Sequence[tuple[int, int]]


def token_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, un-widened and un-padded, with the special tokens that the processor would add."""
    if not texts:
        return []
    special = adds_special_tokens(tokenizer, texts[0])
    return tokenizer(list(texts), add_special_tokens=special, truncation=False, verbose=False)["input_ids"]


def adds_special_tokens(tokenizer: Any, text: str) -> bool:
    """False where the template wrote the begin-of-sequence token itself; a second one would be an unseen start."""
    return not (tokenizer.bos_token and text.startswith(tokenizer.bos_token))


def answer_masks(
    tokenizer: Any, texts: Sequence[str], spans: Sequence[Spans], where: Sequence[str]
) -> list[tuple[list[int], list[bool]]]:
    """(token ids, True for each token of an answer and its end-of-sequence token) of each text, by its character spans.

    A span's tokens begin after those of the text before it, and end with the first end-of-sequence token: answers hold
    none. Nothing depends on the tokenizer's offsets, which some tokenizers trim.  Raises MendableError, naming
    ``where``, if a prompt tokenises otherwise inside the whole text than alone: the model would be asked in tokens it
    was not taught on.
    """
    prefixes = [text[:start] for text, parts in zip(texts, spans, strict=True) for start, _ in parts]
    prefix_ids = iter(token_ids(tokenizer, prefixes))
    rows = []
    for ids, parts, name in zip(token_ids(tokenizer, texts), spans, where, strict=True):
        mask = [False] * len(ids)
        for _ in parts:
            prefix = next(prefix_ids)
            start = len(prefix)
            if ids[:start] != prefix or tokenizer.eos_token_id not in ids[start:]:
                raise MendableError(
                    "the answer or its end-of-sequence token runs together with the token before it",
                    name,
                    "use a chat template that ends its generation prompt with a control token, a line break or a colon",
                )
            end = ids.index(tokenizer.eos_token_id, start) + 1
            mask[start:end] = [True] * (end - start)
        rows.append((ids, mask))
    return rows


def widen(ids: Sequence[int], mask: Sequence[bool], wide_ids: Sequence[int], image_id: int, where: str) -> list[bool]:
    """``mask`` of ``ids`` carried over to ``wide_ids``, where the processor wrote each picture placeholder many times.

    Raises MendableError, naming ``where``, if the two differ in more than the length of the runs of ``image_id``: then
    the processor cut the text, or marks its pictures with tokens that are not known here.
    """
    if _runs_collapsed(ids, image_id) != _runs_collapsed(wide_ids, image_id):
        raise MendableError(
            f"the processor changed more of a text than its picture placeholders ({len(ids)} → {len(wide_ids)} tokens)",
            where,
            "use a processor that widens one placeholder a picture and cuts nothing",
        )
    kept = iter([flag for token, flag in zip(ids, mask, strict=True) if token != image_id])
    return [False if token == image_id else next(kept) for token in wide_ids]


def _runs_collapsed(ids: Sequence[int], image_id: int) -> list[int]:
    return [token for token, run in groupby(ids) for _ in ([token] if token == image_id else run)]
