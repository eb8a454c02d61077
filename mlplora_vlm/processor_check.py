"""Whether a processor works, and with this model: template, tokens and images tried on one grey image."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from mlplora_vlm.errors import MendableError, library_errors, reason

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from mlplora_vlm.families.processor import FamilyProcessor

QUESTION = "question"
IMAGE_TOKEN = ("image_token_id", "image_token_index", "image_patch_id")
"""How configurations call the token that stands for a part of an image."""


def check_processor(processor: FamilyProcessor, config: PreTrainedConfig, where: str) -> None:
    """Raise `MendableError` unless a question about an image becomes a batch that a model of ``config`` can take.

    ``where``: the model's id or folder, for messages.
    """
    if not hasattr(processor.stock, "image_processor") or not hasattr(processor.stock, "tokenizer"):
        raise MendableError(
            f"expected a processor for images and text, got a {type(processor.stock).__name__}",
            where,
            "copy processor_config.json (or preprocessor_config.json) from the model as it was published",
        )
    end = processor.answer_end
    if end is None or end not in processor.tokenizer.get_vocab():
        raise MendableError(
            f"the tokenizer has no token {end!r} to end an answer with" if end else "the tokenizer has no eos_token",
            f"{where} tokenizer_config.json",
            "use the tokenizer that the model was published with, or set eos_token",
        )
    text = _rendered(processor, where)
    _check_batch(processor, text, config, where)


def _rendered(processor: FamilyProcessor, where: str) -> str:
    """The prompt of a question about an image, by the chat template."""
    place, fix = f"{where} chat_template", "copy chat_template.jinja from the model as it was published"
    if not processor.chat_template:
        raise MendableError("the processor has no chat template", place, fix)
    question = {"type": "text", "text": QUESTION}
    try:
        text = processor.render([{"role": "user", "content": [{"type": "image"}, question]}], True)
        fault = _fault(text, processor.placeholder)
    except Exception as error:  # whatever code the template runs
        fault = f"fails: {reason(error)}"
    if not fault:
        return text
    if _takes_text(processor):
        fault = "takes text only: it has no place for images"
    raise MendableError(f"the chat template {fault}", place, fix)


def _fault(text: str, placeholder: str) -> str:
    if (count := text.count(placeholder)) != 1:
        return f"writes {count} placeholders {placeholder!r} for 1 image"
    return "" if QUESTION in text else "leaves out the question"


def _takes_text(processor: FamilyProcessor) -> bool:
    """Whether the template writes a message whose content is a string, and no image."""
    try:
        text = processor.render([{"role": "user", "content": QUESTION}], True)
    except Exception:
        return False
    return QUESTION in text and processor.placeholder not in text


def _check_batch(processor: FamilyProcessor, text: str, config: PreTrainedConfig, where: str) -> None:
    from PIL import Image

    images, options = [[Image.new("RGB", (64, 64), (128, 128, 128))]], {"padding": True, "return_tensors": "pt"}
    fix = "copy the processor's and the tokenizer's files from the model as it was published"
    with library_errors("the processor cannot take an image and a question", where, fix):
        batch = processor(text=[text], images=images, add_special_tokens=False, **options)
        ids = Counter(batch["input_ids"][0].tolist())
        plain = Counter(processor.tokenizer(text, add_special_tokens=False)["input_ids"])
        broken = [name for name, values in batch.items() if values.is_floating_point() and not values.isfinite().all()]
    if broken:
        raise MendableError(f"the processor makes {broken[0]} that are not finite numbers", where, fix)
    name = next((name for name in IMAGE_TOKEN if getattr(config, name, None) is not None), None)
    token = getattr(config, name) if name else None
    widened = ids - plain  # empty where an image stays one token (Llama 3.2 Vision)
    if name and (token not in ids or (widened and token not in widened)):
        raise MendableError(
            f"config.json's {name} is {token}, and the processor writes no such token for an image",
            where,
            "use config.json, processor and tokenizer of the same model",
        )


def check_vocabulary(model: Any, processor: FamilyProcessor, where: str) -> None:
    """Raise `MendableError` where the tokenizer can produce ids beyond the rows of the model's embeddings.

    More rows than tokens are usual (padding); the model may be on the meta device.
    """
    rows = model.get_input_embeddings().weight.shape[0]
    beyond = sorted((id, token) for token, id in processor.tokenizer.get_vocab().items() if id >= rows)
    if beyond:
        names = ", ".join(f"{token!r} ({id})" for id, token in beyond[:3])
        raise MendableError(
            f"the embeddings have {rows:,} rows, and the tokenizer needs {beyond[-1][0] + 1:,}: "
            f"{len(beyond):,} of its tokens have no row, such as {names}",
            where,
            f"resize the model (resize_token_embeddings({beyond[-1][0] + 1})) and save it, "
            "or use the tokenizer that it was published with",
        )
