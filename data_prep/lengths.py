"""How many tokens a row has with its pictures, and which rows can be trained on; no picture is decoded for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sized
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.chat import check_text, messages, render, special_tokens, text_problem
from data_prep.example import Example
from data_prep.images import picture_size
from data_prep.labels import token_ids
from data_prep.progress import progress_bar

if TYPE_CHECKING:
    from mlplora_vlm.families.processor import FamilyProcessor


class PictureTokens:
    """Tokens that a processor makes of a picture, found by processing one grey picture of each size."""

    def __init__(self, processor: FamilyProcessor) -> None:
        self._processor = processor
        self._by_size: dict[tuple[int, int], int] = {}
        self._by_path: dict[Path, int] = {}

    def __call__(self, picture: Any) -> int:
        """Tokens of a file (its header is read once) or of a picture in memory."""
        if not isinstance(picture, Path):
            return self._of_size(picture_size(picture))
        if picture not in self._by_path:
            self._by_path[picture] = self._of_size(picture_size(picture))
        return self._by_path[picture]

    def _of_size(self, size: tuple[int, int]) -> int:
        if size not in self._by_size:
            from PIL import Image

            grey, tokenizer = Image.new("RGB", size, (128, 128, 128)), self._processor.tokenizer
            text = (tokenizer.bos_token or "") + self._processor.placeholder  # some processors would put it there
            options = {"add_special_tokens": False, "return_tensors": "pt"}
            ids = self._processor(text=[text], images=[[grey]], **options)["input_ids"][0]
            rest = len(tokenizer(text, add_special_tokens=False)["input_ids"]) - placeholder_length(self._processor)
            self._by_size[size] = len(ids) - rest
        return self._by_size[size]


def placeholder_length(processor: FamilyProcessor) -> int:
    """Tokens of what stands for a picture in the text: mostly one; Ovis2's is a word like any other."""
    return len(processor.tokenizer(processor.placeholder, add_special_tokens=False)["input_ids"])


def token_length(
    processor: FamilyProcessor, example: Example, prompt: str, picture_tokens: PictureTokens | None = None
) -> int:
    """Tokens of the row as it is trained on: text, answer, end-of-sequence token and pictures, without padding."""
    check_text(example, special_tokens(processor))
    text, _ = render(processor, messages(example, prompt))
    return _lengths(processor, [example], [text], picture_tokens or PictureTokens(processor))[0]


def usable(
    examples: Iterable[Example], processor: FamilyProcessor, prompt: str, max_length: int, progress: bool = True
) -> tuple[list[Example], dict[str, int]]:
    """(rows that can be trained on, number of rows left out by reason); ``examples`` may be a stream, nothing is cut.

    Left out are rows without an answer (their loss would be nothing at all), with control tokens in their text, and
    with more than ``max_length`` tokens.  A picture that is missing or unreadable raises MendableError: then the data
    is not what it should be.
    """
    specials, picture_tokens = special_tokens(processor), PictureTokens(processor)
    total = len(examples) if isinstance(examples, Sized) else None
    bar = progress_bar(examples, total=total, description="checking rows", unit="row", shown=progress)
    kept: list[Example] = []
    left_out: Counter[str] = Counter()

    def with_text() -> Iterator[tuple[Example, str]]:
        for example in bar:
            if not all(answer.strip() for _, answer in example.turns):
                left_out["no answer"] += 1
            elif text_problem(example, specials):
                left_out["control tokens or broken signs in the text"] += 1
            else:
                yield example, render(processor, messages(example, prompt))[0]

    stream = with_text()
    while chunk := list(islice(stream, 256)):
        rows, texts = [row for row, _ in chunk], [text for _, text in chunk]
        for row, length in zip(rows, _lengths(processor, rows, texts, picture_tokens), strict=True):
            if length > max_length:
                left_out[f"more than {max_length} tokens"] += 1
            else:
                kept.append(row)
    return kept, dict(left_out)


def _lengths(
    processor: FamilyProcessor, rows: list[Example], texts: list[str], picture_tokens: PictureTokens
) -> list[int]:
    all_ids = token_ids(processor.tokenizer, texts)
    before = placeholder_length(processor)
    wider = (sum(picture_tokens(picture) - before for picture in row.images) for row in rows)
    return [len(ids) + more for ids, more in zip(all_ids, wider, strict=True)]
