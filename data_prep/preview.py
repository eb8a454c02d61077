"""The preview: rows as the model gets them, picture by picture and token by token, out of training's own batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from data_prep.collate import IGNORED, TrainCollator
from data_prep.html import page, picture_uri, render
from data_prep.images import open_image
from data_prep.pixels import alone, by_picture, shown_pictures
from data_prep.record import Record, to_example
from mlplora_vlm.errors import MendableError

if TYPE_CHECKING:
    from PIL.Image import Image

    from data_prep.example import Example
    from mlplora_vlm.families.processor import FamilyProcessor

ROOM = Path(__file__).parent
LARGEST = 768  # pixels of a picture's longer side on the page


@dataclass(frozen=True)
class Token:
    """One token of the row, or one picture's whole run of them."""

    at: int
    """Its place in the row, from 0."""
    id: int
    text: str
    kind: str
    """``prompt``, ``answer`` (it is learnt) or ``picture``."""
    special: bool = False
    length: int = 1
    """Tokens that a picture's run has."""


@dataclass(frozen=True)
class Shown:
    """A row as the model gets it; with ``problem``, why it cannot be trained on."""

    example: Example
    why: Sequence[str]
    tokens: Sequence[Token] = ()
    pictures: Sequence[Sequence[Image]] = ()
    """Of each picture its tiles."""
    problem: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """Tokens of each kind, and of the whole row."""
        found = Counter(dict.fromkeys(("prompt", "picture", "answer"), 0))
        for token in self.tokens:
            found[token.kind] += token.length
        return {**found, "whole": found.total()}


def pick(lengths: Sequence[int], pictures: Sequence[int], rows: int, seed: int = 0) -> list[tuple[int, list[str]]]:
    """(number of a row, why it is shown): the longest, the shortest, that with most pictures, and ``rows`` by seed.

    ``lengths`` are each row's tokens and ``pictures`` how many it has.
    """
    why: dict[int, list[str]] = {}
    if len(lengths):
        numbers = range(len(lengths))
        why.setdefault(max(numbers, key=lambda number: lengths[number]), []).append("longest row")
        if max(pictures) > min(pictures):
            why.setdefault(max(numbers, key=lambda number: pictures[number]), []).append("most pictures")
        why.setdefault(min(numbers, key=lambda number: lengths[number]), []).append("shortest row")
        for number in sorted(Random(seed).sample(numbers, min(rows, len(lengths)))):
            why.setdefault(number, []).append("by seed")
    return list(why.items())


def preview_page(
    title: str,
    processor: FamilyProcessor,
    rows: Sequence[tuple[Example | Record, Sequence[str]]],
    prompt: str = "as_written",
    notes: Sequence[str] = (),
) -> str:
    """The page for (row, why it is shown); ``notes`` are sentences about where the rows come from."""
    show = Preview(processor, prompt)
    cards = [_card(show(row, why)) for row, why in rows]
    body = render(ROOM, "preview.html.jinja", title=title, cards=cards, notes=notes)
    style, script = ((ROOM / name).read_text("utf-8") for name in ("preview.css", "preview.js"))
    return page(f"{title} · preview", body, style=style, script=script)


class Preview:
    """Rows → what the model gets of them."""

    def __init__(self, processor: FamilyProcessor, prompt: str = "as_written") -> None:
        self._processor, self._collate = processor, TrainCollator(processor, prompt)
        tokenizer = processor.tokenizer
        self._special = {key for key, token in tokenizer.added_tokens_decoder.items() if token.special}
        self._special |= set(tokenizer.all_special_ids)
        self._picture_token: int | None = None

    def __call__(self, row: Example | Record, why: Sequence[str] = ()) -> Shown:
        """The row as the collator of the training makes it, alone in its batch."""
        example = to_example(row) if isinstance(row, dict) else row
        try:
            batch = self._collate([example])
            pictures = [open_image(picture) for picture in example.images]
        except MendableError as error:
            return Shown(example, why, problem=f"{error.what} ({error.where})" if error.where else error.what)
        length = int(batch["attention_mask"][0].sum())
        ids, labels = batch["input_ids"][0, :length].tolist(), batch["labels"][0, :length].tolist()
        tiles = shown_pictures(self._processor, batch, pictures)
        return Shown(example, why, list(self._tokens(ids, labels, self._runs(ids, pictures))), tiles)

    def _tokens(self, ids: list[int], labels: list[int], runs: list[tuple[int, int]]) -> Iterator[Token]:
        at = 0
        for number, (start, end) in enumerate([*runs, (len(ids), len(ids))], 1):
            for place, text in enumerate(token_texts(self._processor.tokenizer, ids[:start], at), at):
                kind = "prompt" if labels[place] == IGNORED else "answer"
                yield Token(place, ids[place], text, kind, ids[place] in self._special)
            if end > start:
                text = f"picture {number}" if len(runs) > 1 else "picture"
                yield Token(start, ids[start], text, "picture", length=end - start)
            at = end

    def _runs(self, ids: list[int], pictures: Sequence[Image]) -> list[tuple[int, int]]:
        """[start, end) of each picture: from the first to the last token that the model puts a piece of it at."""
        if not pictures:
            return []
        if self._picture_token is None:
            self._picture_token = picture_token(self._processor)
        places = [place for place, token in enumerate(ids) if token == self._picture_token]
        counts = [alone(self._processor, one)["input_ids"][0].tolist().count(self._picture_token) for one in pictures]
        return [(run[0], run[-1] + 1) for run in by_picture(places, counts)]


def picture_token(processor: FamilyProcessor) -> int:
    """The id of the token that a picture has most of: there the model puts its pieces; what is between them is text.

    It is one of those added to the tokenizer's words: Gemma 3 puts line breaks around each picture too.
    """
    from PIL import Image

    added = processor.tokenizer.added_tokens_decoder.keys() - {processor.tokenizer.bos_token_id}
    ids = alone(processor, Image.new("RGB", (1000, 700)))["input_ids"][0].tolist()
    return Counter(token for token in ids if token in added).most_common(1)[0][0]


def token_texts(tokenizer: Any, ids: Sequence[int], start: int = 0) -> list[str]:
    """What each token from ``start`` on adds to the text; of a sign of several tokens the last one has it.

    Decoded with the token before it, since some tokenizers drop a space at the start, as text-generation-inference does
    (github.com/huggingface/text-generation-inference at commit 00359fc, server/text_generation_server/models/model.py).
    """

    def decoded(start: int, end: int) -> str:
        text: str = tokenizer.decode(ids[start:end], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

    texts, before, read = [], max(0, start - 1), start
    for end in range(start + 1, len(ids) + 1):
        known, text = decoded(before, read), decoded(before, end)
        whole = not text.endswith("\ufffd") or end == len(ids)
        texts.append(text[len(known) :] if whole else "")
        if whole:
            before, read = read, end
    return texts


def _card(row: Shown) -> dict[str, Any]:
    return {
        "id": row.example.id,
        "where": row.example.where if row.example.where != row.example.id else "",
        "why": row.why,
        "repairs": row.example.repairs,
        "context_turns": row.example.context_turns,
        "problem": row.problem,
        "counts": row.counts,
        "pictures": [[_tile(tile) for tile in tiles] for tiles in row.pictures],
        "tokens": row.tokens,
    }


def _tile(tile: Image) -> dict[str, Any]:
    width, height = tile.size
    return {"uri": picture_uri(tile, LARGEST), "width": width, "height": height, "small": max(tile.size) <= 128}
