"""Examples → batches: padded on the right with labels for training, on the left without answers for generation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from data_prep.chat import answer_end, check_text, messages, prompt_text, render, special_tokens
from data_prep.example import Example
from data_prep.images import open_image
from data_prep.labels import Spans, adds_special_tokens, answer_masks, carried_over
from data_prep.record import Record, to_example
from data_prep.rows import RowError
from mlplora_vlm.errors import MendableError, reason

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from mlplora_vlm.families.processor import FamilyProcessor

IGNORED = -100
"""The label that the loss leaves out."""


class TrainCollator:
    """Examples → what the model's forward takes, with labels on the learned answers and their end tokens alone.

    ``input_ids``, ``attention_mask``, ``labels`` (rows, tokens) int64, padded on the right; ``pixel_values`` and
    whatever else the processor makes.  Every batch holds a picture: to one of text rows alone a further row is added,
    a grey picture without any label.  It cannot change the loss, and under ZeRO-3 each process then runs the same
    modules. Rows may hold different numbers of pictures; records of a prepared set are taken too.  Raises
    MendableError, naming the row, for text or pictures that cannot be used.
    """

    def __init__(self, processor: FamilyProcessor, prompt: str = "short_answer") -> None:
        self.processor, self.prompt = processor, prompt
        self._specials = special_tokens(processor)

    def __call__(self, given: Sequence[Example | Record]) -> dict[str, Tensor]:
        examples = [row if isinstance(row, Example) else to_example(row) for row in given]
        rows = []
        for example in examples:
            check_text(example, self._specials)
            with in_row(f"row {example.id}"):
                rows.append(render(self.processor, messages(example, self.prompt)))
        texts = [text for text, _ in rows]
        spans: list[Spans] = [example.learned(parts) for example, (_, parts) in zip(examples, rows, strict=True)]
        names, pictures = [f"row {example.id}" for example in examples], _pictures(examples)
        if not any(pictures):
            texts, spans = [*texts, self.processor.placeholder], [*spans, []]
            names, pictures = [*names, "the row that only holds a picture"], [*pictures, [_grey()]]
        batch = _processed(self.processor, texts, pictures, "right", names)
        batch["labels"] = self._labels(batch, texts, spans, names)
        if finish := self.processor.card.finish:
            finish(batch)
        return batch

    def _labels(self, batch: dict[str, Tensor], texts: list[str], spans: Sequence[Spans], names: list[str]) -> Tensor:
        """(rows, tokens) int64: the token where it is to be learnt, else `IGNORED`."""
        import torch

        labels = torch.full_like(batch["input_ids"], IGNORED)
        masks = answer_masks(self.processor.tokenizer, texts, spans, answer_end(self.processor), names)
        for row, ((ids, mask), name) in enumerate(zip(masks, names, strict=True)):
            wide_ids = batch["input_ids"][row, : int(batch["attention_mask"][row].sum())]
            learnt = torch.tensor(carried_over(ids, mask, wide_ids.tolist(), name), dtype=torch.bool)
            labels[row, : len(learnt)][learnt] = wide_ids[learnt]
        return labels


class PromptCollator:
    """Examples → what ``generate`` takes: the prompts alone, padded on the left, without labels."""

    def __init__(self, processor: FamilyProcessor, prompt: str = "short_answer") -> None:
        self.processor, self.prompt = processor, prompt
        self._specials = special_tokens(processor)

    def text(self, example: Example) -> str:
        """The prompt as it is sent, its picture placeholders not yet widened."""
        check_text(example, self._specials)
        with in_row(f"row {example.id}"):
            return prompt_text(self.processor, messages(example, self.prompt)[:-1])

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        texts, names = [self.text(example) for example in examples], [f"row {example.id}" for example in examples]
        return _processed(self.processor, texts, _pictures(examples), "left", names)


def _processed(
    processor: FamilyProcessor, texts: list[str], pictures: list[list[Image]], side: str, names: list[str]
) -> dict[str, Tensor]:
    """The processor's output for rows with their pictures; it never cuts.

    Raises RowError with the name of a row that the processor cannot take, and MendableError where it takes each row
    and not the batch.
    """
    tokenizer = processor.tokenizer
    if tokenizer.pad_token is None:
        raise MendableError(
            "the tokenizer has no padding token", "model.id", "set pad_token in its tokenizer_config.json"
        )
    try:
        return dict(
            processor(
                text=texts,
                images=pictures if any(pictures) else None,
                add_special_tokens=adds_special_tokens(tokenizer, texts[0]),
                padding=True,
                padding_side=side,
                truncation=False,
                return_tensors="pt",
            )
        )
    except Exception as error:
        if len(texts) == 1:
            what = f"the model's processor cannot take the row: {reason(error)}"
            raise RowError("processor", what, names[0]) from error
        for text, shown, name in zip(texts, pictures, names, strict=True):
            _processed(processor, [text], [shown], side, [name])
        what = f"the model's processor takes each row, and not {len(texts)} together: {reason(error)}"
        raise MendableError(what, f"{names[0]} …", "set the batch size to 1") from error


def _pictures(examples: Sequence[Example]) -> list[list[Image]]:
    found = []
    for example in examples:
        with in_row(f"row {example.id}"):
            found.append([open_image(picture) for picture in example.images])
    return found


@contextmanager
def in_row(row: str) -> Iterator[None]:
    """Raise a RowError of the block inside with the row's name."""
    try:
        yield
    except RowError as error:
        raise RowError(error.reason, error.what, row) from error


def _grey() -> Image:
    from PIL import Image

    return Image.new("RGB", (64, 64), (128, 128, 128))
