"""A model's answers: greedy, batched, in the order of the examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING, Any

from data_prep.example import Example

if TYPE_CHECKING:
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
) -> Iterator[str]:
    """One answer an example, without special tokens and stripped.

    Prompts are padded on the left and the longest are answered first: their like share a batch, and too little memory
    shows at once. The batch size changes how long it takes and no answer (in bf16 only as far as sums of another shape
    round alike). Yields once all are there, since batches cut across the order.  The model keeps its mode (training or
    not).
    """
    import torch

    from data_prep.collate import PromptCollator
    from data_prep.labels import token_ids
    from data_prep.lengths import PictureTokens
    from data_prep.progress import progress_bar

    collate, picture_tokens = PromptCollator(processor, prompt), PictureTokens(processor)
    lengths = [len(ids) for ids in token_ids(processor.tokenizer, [collate.text(example) for example in examples])]
    for number, example in enumerate(examples):
        lengths[number] += picture_tokens(example.images)
    counts = [len(example.images) if processor.card.same_count else 0 for example in examples]
    order = sorted(range(len(examples)), key=lambda number: (counts[number], -lengths[number]))
    batches = [
        numbers[start : start + batch_size]
        for numbers in (list(same) for _, same in groupby(order, key=counts.__getitem__))
        for start in range(0, len(numbers), batch_size)
    ]
    decoding = greedy(model, processor, max_new_tokens)
    found = [""] * len(examples)
    bar = progress_bar(total=len(examples), description=description, unit="answer", shown=progress)
    with torch.inference_mode(), _evaluating(model), bar:
        for numbers in batches:
            batch = on_model(collate([examples[number] for number in numbers]), model)
            output = model.generate(**batch, generation_config=decoding)
            texts = processor.tokenizer.batch_decode(output[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
            for number, text in zip(numbers, texts, strict=True):
                found[number] = text.strip()
            bar.update(len(numbers))
    yield from found


def greedy(model: Any, processor: FamilyProcessor, max_new_tokens: int) -> GenerationConfig:
    """Plain greedy decoding; what the model's generation config would add (sampling, penalties) is switched off."""
    from transformers import GenerationConfig

    own, tokenizer = model.generation_config.eos_token_id, processor.tokenizer
    taught = tokenizer.convert_tokens_to_ids(processor.answer_end)
    ends = {taught, tokenizer.eos_token_id, *(own if isinstance(own, list | tuple) else [own])} - {None}
    return GenerationConfig(
        do_sample=False,
        num_beams=1,
        temperature=1.0,
        top_p=1.0,
        top_k=50,  # the library's default: any other value draws a warning where nothing is sampled
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        min_new_tokens=0,
        max_new_tokens=max_new_tokens,
        eos_token_id=sorted(ends),
        pad_token_id=tokenizer.pad_token_id,
        use_cache=True,
    )


def on_model(batch: dict[str, Any], model: Any) -> dict[str, Any]:
    """The batch on the model's device, pictures in its precision."""
    return {
        key: value.to(model.device, model.dtype) if value.is_floating_point() else value.to(model.device)
        for key, value in batch.items()
    }


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
