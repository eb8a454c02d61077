"""A model's answers: greedy, batched, each as soon as it is there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from data_prep.chat import answer_end
from data_prep.example import Example
from data_prep.rows import RowError
from eval_harness.batches import Batches
from eval_harness.controls import PictureKeys
from mlplora_vlm.errors import MendableError, reason
from mlplora_vlm.inputs import on_model

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import GenerationConfig

    from mlplora_vlm.families.processor import FamilyProcessor


def answers(
    model: Any,
    processor: FamilyProcessor,
    examples: Sequence[Example],
    prompt: str,
    max_new_tokens: int,
    batch_size: int,
    description: str = "answering",
    progress: bool = True,
) -> Iterator[tuple[int, str]]:
    """(the example's place, its answer without special tokens and stripped), each once, batch by batch.

    Prompts are padded on the left and the longest are answered first: their like share a batch, and too little memory
    shows at once; then batches are halved, and said so.  Questions about one picture follow each other, and their
    picture is encoded once.  The batch size changes how long it takes and no answer (in bf16 only as far as sums of
    another shape round alike).  The model keeps its mode (training or not).  Raises MendableError where a single
    question does not fit into memory, and RowError, naming the row, for one that cannot be answered.
    """
    import torch

    from data_prep.collate import PromptCollator, in_row
    from data_prep.images import open_image
    from data_prep.labels import token_ids
    from data_prep.lengths import PictureTokens
    from data_prep.progress import progress_bar
    from mlplora_vlm.picture_features import PictureFeatures

    collate, picture_tokens, key = PromptCollator(processor, prompt), PictureTokens(processor), PictureKeys()
    pictures = [tuple(map(key, example.images)) for example in examples]
    lengths = [len(ids) for ids in token_ids(processor.tokenizer, [collate.text(example) for example in examples])]
    for number, example in enumerate(examples):
        with in_row(f"row {example.id}"):
            lengths[number] += picture_tokens(example.images)
    counts = [len(example.images) if processor.card.same_count else 0 for example in examples]
    named = {key(picture): picture for example in examples for picture in example.images}
    features, decoding = PictureFeatures(model, processor), greedy(model, processor, max_new_tokens)

    def answered(numbers: Sequence[int]) -> list[str]:
        logits = _Logits()
        batch = on_model(collate([examples[number] for number in numbers]), model)
        shown = [pictures[number] for number in numbers]
        with torch.inference_mode(), _evaluating(model):
            batch = features.put_in(batch, shown, lambda name: open_image(named[name]))
            output = model.generate(**batch, generation_config=decoding, logits_processor=[logits])
        logits.check([f"row {examples[number].id}" for number in numbers])
        texts = processor.tokenizer.batch_decode(output[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
        return [text.strip() for text in texts]

    bar = progress_bar(total=len(examples), description=description, unit="answer", shown=progress)
    batches = Batches(counts, pictures, lengths, batch_size)
    with bar:
        for numbers in batches:
            try:
                texts = answered(numbers)
            except MendableError:
                raise
            except Exception as error:
                if not _out_of_memory(error):
                    raise _of_row(
                        error, answered, {number: f"row {examples[number].id}" for number in numbers}
                    ) from error
                if len(numbers) == 1:
                    raise MendableError(
                        f"one question alone does not fit into the device's memory ({error!s:.120})",
                        f"row {examples[numbers[0]].id}",
                        "bound the pictures with model.picture_tokens, or take model.quantization=nf4",
                    ) from None
                features.forget()
                size = batches.halve(numbers)
                print(f"{len(numbers)} questions at once do not fit into memory: going on with {size}", flush=True)
                continue
            yield from zip(numbers, texts, strict=True)
            bar.update(len(numbers))


def in_order(found: Iterable[tuple[int, str]], count: int) -> list[str]:
    """The answers of ``count`` examples in the examples' order."""
    texts = [""] * count
    for number, text in found:
        texts[number] = text
    return texts


def greedy(model: Any, processor: FamilyProcessor, max_new_tokens: int) -> GenerationConfig:
    """Plain greedy decoding; of the model's own generation config only the end tokens count."""
    from transformers import GenerationConfig

    class Plain(GenerationConfig):
        """One that ``generate`` cannot fill up from the model's own."""

        def update(self, defaults_only: bool = False, allow_custom_entries: bool = False, **values: Any) -> Any:
            """Skip the one call that carries the model's own settings over: it alone allows custom entries."""
            return {} if allow_custom_entries else super().update(defaults_only=defaults_only, **values)

    own, tokenizer = model.generation_config.eos_token_id, processor.tokenizer
    taught = tokenizer.convert_tokens_to_ids(answer_end(processor))
    ends = {taught, tokenizer.eos_token_id, *(own if isinstance(own, list | tuple) else [own])} - {None}
    return Plain(
        do_sample=False,
        num_beams=1,
        max_new_tokens=max_new_tokens,
        eos_token_id=sorted(ends),
        pad_token_id=tokenizer.pad_token_id,
        use_cache=True,
    )


class _Logits:
    """A logits processor that changes nothing, and remembers which rows had logits that no answer can come from."""

    def __init__(self) -> None:
        self._broken: Any = False

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """``scores``: (rows, vocabulary)."""
        self._broken = self._broken | scores.isnan().any(-1) | (scores.amax(-1) == scores.amin(-1))
        return scores

    def check(self, names: Sequence[str]) -> None:
        """Raise RowError for the first row with such logits."""
        broken = [name for name, one in zip(names, self._broken.tolist(), strict=True) if one]
        if broken:
            raise RowError(
                "model",
                "the model computes no answer: its logits are NaN or all the same",
                broken[0],
                "load it in model.dtype=float32 or bfloat16; where that changes nothing, its weights are damaged",
            )


def _of_row(error: Exception, answered: Callable[[list[int]], object], names: Mapping[int, str]) -> Exception:
    """The error as that of the first row that fails alone, too; itself where none does."""
    if len(names) == 1:
        return RowError("model", f"the model fails on the row: {reason(error)}", *names.values())
    for number, name in names.items():
        try:
            answered([number])
        except MendableError as alone:
            return alone
        except Exception as alone:
            return _of_row(alone, answered, {number: name})
    return error


def _out_of_memory(error: Exception) -> bool:
    from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

    if not should_reduce_batch_size(error):
        return False
    clear_device_cache(garbage_collection=True)
    return True


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
