"""How many tokens a row's pictures become."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from data_prep.images import picture_size
from data_prep.rows import RowError

if TYPE_CHECKING:
    from data_prep.example import Picture
    from mlplora_vlm.families.processor import FamilyProcessor

Size = tuple[int, int]
"""(width, height) in pixels."""


class PictureTokens:
    """Tokens that a processor makes of pictures, found by processing grey ones of each size once."""

    def __init__(self, processor: FamilyProcessor) -> None:
        self._processor = processor
        self._known: dict[tuple[Size, ...], int] = {}

    def __call__(self, pictures: Iterable[Picture]) -> int:
        """Tokens of all of a row's pictures, whose headers are read."""
        return self.of_sizes(map(picture_size, pictures))

    def of_sizes(self, sizes: Iterable[Size]) -> int:
        """Tokens of a row's pictures of these sizes; raises RowError for a size that the processor cannot take."""
        row = tuple(sizes)
        if self._processor.card.counted_together:
            return self._of(row) if row else 0
        return sum(self._of((size,)) for size in row)

    def _of(self, sizes: tuple[Size, ...]) -> int:
        if sizes not in self._known:
            from PIL import Image

            grey, tokenizer = [Image.new("RGB", size, (128, 128, 128)) for size in sizes], self._processor.tokenizer
            # some processors would put the token that begins a text there
            text = (tokenizer.bos_token or "") + self._processor.placeholder * len(sizes)
            options = {"add_special_tokens": False, "return_tensors": "pt"}
            try:
                ids = self._processor(text=[text], images=[grey], **options)["input_ids"][0]
            except (ValueError, ArithmeticError, IndexError, RuntimeError) as error:  # such as a side ratio above 200
                shown = ", ".join(f"{width} x {height}" for width, height in sizes)
                what = f"the model's processor cannot take pictures of {shown} pixels ({error!s:.100})"
                raise RowError("picture size", what) from error
            rest = len(tokenizer(text, add_special_tokens=False)["input_ids"])
            self._known[sizes] = len(ids) - rest + placeholder_length(self._processor) * len(sizes)
        return self._known[sizes]


def placeholder_length(processor: FamilyProcessor) -> int:
    """Tokens of what stands for a picture in the text: mostly one; Ovis2's is a word like any other."""
    return len(processor.tokenizer(processor.placeholder, add_special_tokens=False)["input_ids"])
