"""Checks rows before any GPU starts: each is accepted, repaired and said so, or rejected with the reason."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.chat import answer_end, messages, render, special_tokens
from data_prep.example import PICTURE, Example
from data_prep.images import Inspected, inspect
from data_prep.labels import Spans, answer_masks
from data_prep.lengths import PictureTokens, placeholder_length
from data_prep.prompts import ask
from data_prep.record import Record, to_example
from data_prep.rows import RowError
from data_prep.section import DataSection
from data_prep.text import clean
from mlplora_vlm.errors import MendableError

if TYPE_CHECKING:
    from mlplora_vlm.families.processor import FamilyProcessor

REMEMBERED = 4096
"""Pictures whose inspection is kept: rows about the same picture mostly stand together."""
SCALES = 32
"""A row that is too long is tried with its pictures' sides at k/32."""
SHOWN = "pictures made smaller to fit"
MOVED = "pictures moved before their turn's words by the chat template"


class RowCheck:
    """Records as they were read → the same records, checked: a `datasets.Dataset.map` function of batches."""

    def __init__(self, processor: FamilyProcessor, settings: DataSection) -> None:
        self._processor, self._settings = processor, settings
        self._sections = settings.sources()
        self._specials = special_tokens(processor)
        self._picture_tokens = PictureTokens(processor)
        self._placeholder = placeholder_length(processor)
        self._inspected: OrderedDict[Path, Inspected | RowError] = OrderedDict()

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """The batch's columns again; what a rejected row was is left as it was read."""
        import torch

        torch.set_num_threads(1)  # in a forked process the parent's threads are not there
        records = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
        checked = self.records(records)
        return {key: [record[key] for record in checked] for key in batch}

    def records(self, records: Sequence[Record]) -> list[Record]:
        """The records with their columns filled, or with the ``reason`` and ``detail`` of their rejection."""
        done = [dict(record) for record in records]
        texts: dict[int, tuple[str, Spans]] = {}
        for number, record in enumerate(done):
            if record["reason"] is None:
                try:
                    texts[number] = self._content(record)
                except RowError as error:
                    _reject(record, error)
        masks = self._masks([text for text, _ in texts.values()], [spans for _, spans in texts.values()])
        for number, mask in zip(texts, masks, strict=True):
            try:
                if isinstance(mask, RowError):
                    raise mask
                self._count(done[number], len(mask), sum(mask))
            except RowError as error:
                _reject(done[number], error)
        return done

    def _content(self, record: Record) -> tuple[str, Spans]:
        """Cleans the text, asks the questions, inspects the pictures; the row's text and the spans to be learnt."""
        example, where = self._cleaned(to_example(record)), record["where"]
        prompt = self._sections[record["source"]].prompt
        if not all(answer.strip() for _, answer in example.turns):
            raise RowError("empty answer", "an answer is empty: there is nothing to learn", where)
        try:
            turns = [(ask(prompt, question, where), answer) for question, answer in example.turns]
        except MendableError as error:
            raise RowError("prompt", error.what, where) from error
        if not example.images and not all(question for question, _ in turns):
            raise RowError("empty question", "a question is empty, and there is no picture", where)
        example = replace(example, question=turns[-1][0], answer=turns[-1][1], earlier=tuple(turns[:-1]))
        text, answers = render(self._processor, messages(example, "as_written"))
        if not (labels := example.learned(answers)):
            raise RowError("nothing learned", "every answer is marked as context: there is nothing to learn", where)
        found = [self._inspect(image) for image in example.images]
        record["turns"] = [{"question": question, "answer": answer} for question, answer in turns]
        record["system"] = example.system
        record["images"] = [self._kept(image, one.size) for image, one in zip(record["images"], found, strict=True)]
        record["digests"] = [one.digest for one in found]
        moved = (MOVED,) if self._moved(example, text) else ()
        record["repairs"] = list(dict.fromkeys(chain(example.repairs, *(one.repairs for one in found), moved)))
        return text, labels

    def _moved(self, example: Example, text: str) -> bool:
        """Whether the chat template wrote a picture before words that stand before it in the row."""
        pieces, end = text.split(self._processor.placeholder), 0
        for question, _ in example.turns:
            before, sign, _ = question.partition(PICTURE)
            if sign and before.strip() and before.strip() not in pieces[end]:
                return True
            end += question.count(PICTURE)
        return False

    def _cleaned(self, example: Example) -> Example:
        """The example with clean text, and what was mended in it among its repairs."""
        repairs = list(example.repairs)

        def cleaned(text: str) -> str:
            text, mended = clean(text, self._specials, self._settings.control_tokens)
            repairs.extend(mended)
            return text

        *earlier, last = [(cleaned(question), cleaned(answer)) for question, answer in example.turns]
        return replace(
            example,
            question=last[0],
            answer=last[1],
            references=(last[1],),
            earlier=tuple(earlier),
            system=cleaned(example.system),
            repairs=tuple(repairs),
        )

    def _inspect(self, image: Any) -> Inspected:
        """`inspect`, remembered for a while by path."""
        if not isinstance(image, Path):
            return inspect(image)
        if image not in self._inspected:
            try:
                self._inspected[image] = inspect(image)
            except RowError as error:
                self._inspected[image] = error
            if len(self._inspected) > REMEMBERED:
                self._inspected.popitem(last=False)
        found = self._inspected[image]
        if isinstance(found, RowError):
            raise found
        return found

    def _kept(self, image: Record, size: tuple[int, int]) -> Record:
        embedded = image["bytes"]
        if self._settings.embed_pictures and embedded is None:
            embedded = Path(image["path"]).read_bytes()
        return {"path": image["path"], "bytes": embedded, "size": list(size), "shrunk": None}

    def _masks(self, texts: list[str], spans: list[Spans]) -> list[list[bool] | RowError]:
        """Of each text, which of its tokens are learnt; an error where they cannot be told apart."""
        end, tokenizer = answer_end(self._processor), self._processor.tokenizer
        try:
            return [mask for _, mask in answer_masks(tokenizer, texts, spans, end, [""] * len(texts))]
        except MendableError as error:
            if len(texts) == 1:
                return [RowError("template", error.what)]
            return [self._masks([text], [parts])[0] for text, parts in zip(texts, spans, strict=True)]

    def _count(self, record: Record, narrow: int, learnt: int) -> None:
        """Fills in the tokens; raises where there are too many and the recipe does not ask for smaller pictures."""
        sizes = [(image["size"][0], image["size"][1]) for image in record["images"]]
        text_tokens = narrow - self._placeholder * len(sizes)
        pictures = self._picture_tokens.of_sizes(sizes)
        limit, settings = self._settings.max_length, self._settings
        if text_tokens + pictures > limit:
            what = f"{text_tokens + pictures:,} tokens, {pictures:,} of them pictures; data.max_length is {limit:,}"
            if settings.too_long == "fail":
                raise MendableError(
                    what, record["where"], "raise data.max_length, or set data.too_long to drop or shrink"
                )
            smaller = self._smaller(sizes, limit - text_tokens) if settings.too_long == "shrink" and sizes else None
            if smaller is None:
                shown = ", ".join(f"{width} x {height}" for width, height in sizes)
                if settings.too_long == "shrink" and sizes:
                    what += f"; pictures of {shown} pixels cannot be made small enough"
                raise RowError("too long", what, record["where"])
            for image, size in zip(record["images"], smaller, strict=True):
                image["shrunk"] = list(size)
            record["repairs"].append(SHOWN)
            pictures = self._picture_tokens.of_sizes(smaller)
        record |= {"length": text_tokens + pictures, "text_tokens": text_tokens}
        record |= {"picture_tokens": pictures, "label_tokens": learnt}

    def _smaller(self, sizes: list[tuple[int, int]], budget: int) -> list[tuple[int, int]] | None:
        """Return the largest sizes, about k/32 of the given ones, that take at most ``budget`` tokens; None: no k does.

        A processor refuses some small sizes, which ones is known by trying; those are passed over.
        """

        def fits(step: int) -> bool | None:
            """Whether k = ``step`` is small enough; None: the processor refuses it."""
            try:
                return self._picture_tokens.of_sizes(_scaled(size, step) for size in sizes) <= budget
            except RowError:
                return None

        low, high = 1, SCALES - 1
        while low <= high:
            step = (low + high) // 2
            if fits(step) is False:
                high = step - 1
            else:
                low = step + 1
        found = next((step for step in range(high, 0, -1) if fits(step)), None)
        return [_scaled(size, found) for size in sizes] if found else None


def _scaled(size: tuple[int, int], step: int) -> tuple[int, int]:
    """Return about ``step``/32 of the size, its longer side rounded down to the proportion that the shorter one has."""
    short, long = min(size), max(size)
    side = max(1, round(short * step / SCALES))
    other = max(side, long * side // short)
    return (side, other) if size[0] <= size[1] else (other, side)


def _reject(record: Record, error: RowError) -> None:
    record["reason"], record["detail"] = error.reason, error.what
