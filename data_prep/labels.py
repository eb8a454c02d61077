"""Which tokens the model learns to write: found on the text alone, then carried over to the widened pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from data_prep.rows import RowError
from mlplora_vlm.errors import MendableError, reason

Spans = Sequence[tuple[int, int]]


def token_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, un-widened and un-padded, with the special tokens that the processor would add.

    Raises RowError for a text that the tokenizer cannot read.
    """
    if not texts:
        return []
    special = adds_special_tokens(tokenizer, texts[0])
    try:
        return tokenizer(list(texts), add_special_tokens=special, truncation=False, verbose=False)["input_ids"]
    except Exception as error:
        if len(texts) == 1:
            raise RowError("invalid text", f"the tokenizer cannot read the text: {reason(error)}") from error
        return [token_ids(tokenizer, [text])[0] for text in texts]


def adds_special_tokens(tokenizer: Any, text: str) -> bool:
    """False where the template wrote the begin-of-sequence token itself; a second one would be an unseen start."""
    return not (tokenizer.bos_token and text.startswith(tokenizer.bos_token))


def answer_masks(
    tokenizer: Any, texts: Sequence[str], spans: Sequence[Spans], end_token: str, where: Sequence[str]
) -> list[tuple[list[int], list[bool]]]:
    """(token ids, True for each token of an answer and of ``end_token`` after it) of each text, by its character spans.

    A span's tokens begin after those of the text before it, and end with the first ``end_token``: answers hold none.
    Nothing depends on the tokenizer's offsets, which some tokenizers trim.  Raises MendableError, naming ``where``, if
    a prompt tokenises otherwise inside the whole text than alone: the model would be asked in tokens it was not taught
    on.
    """
    prefixes = [text[:start] for text, parts in zip(texts, spans, strict=True) for start, _ in parts]
    prefix_ids, end_id = iter(token_ids(tokenizer, prefixes)), tokenizer.convert_tokens_to_ids(end_token)
    rows = []
    for ids, parts, name in zip(token_ids(tokenizer, texts), spans, where, strict=True):
        mask = [False] * len(ids)
        for _ in parts:
            prefix = next(prefix_ids)
            start = len(prefix)
            if ids[:start] != prefix or end_id not in ids[start:]:
                raise MendableError(
                    "the answer or the token that ends it runs together with the token before it",
                    name,
                    "use a chat template that ends its generation prompt with a control token, a line break or a colon",
                )
            end = ids.index(end_id, start) + 1
            mask[start:end] = [True] * (end - start)
        rows.append((ids, mask))
    return rows


def carried_over(ids: Sequence[int], mask: Sequence[bool], wide_ids: Sequence[int], where: str) -> list[bool]:
    """``mask`` of ``ids`` for ``wide_ids``, where the processor wrote many tokens for each picture's placeholder.

    Pictures may stand before or between the answers, and what stands around one need not stay the same: markers, rows
    and tiles, or line breaks that run together with the text.  So an answer is found by its end: after it come as many
    of the tokens that end a turn as before, since no picture is written with one.  The prompt's last token must stand
    before it still: the answer must follow what it was asked with.
    Raises MendableError, naming ``where``, if the processor cut or changed what is to be learnt.
    """
    wide = [False] * len(wide_ids)
    for start, end in _runs(mask):
        end_id, begin = ids[end - 1], max(0, start - 1)
        following = list(ids[end:]).count(end_id)
        places = [place for place, token in enumerate(wide_ids) if token == end_id]
        wide_end = places[-1 - following] + 1 if following < len(places) else 0
        wide_begin = wide_end - (end - begin)
        if wide_begin < 0 or list(ids[begin:end]) != list(wide_ids[wide_begin:wide_end]):
            raise MendableError(
                f"the processor changed an answer's tokens when it put the pictures in ({len(ids)} → {len(wide_ids)})",
                where,
                "use a processor that widens placeholders and cuts nothing",
            )
        wide[wide_end - (end - start) : wide_end] = [True] * (end - start)
    return wide


def _runs(mask: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """[start, end) of each run of True."""
    end = 0
    for learnt, run in groupby(mask):
        start, end = end, end + len(list(run))
        if learnt:
            yield start, end
