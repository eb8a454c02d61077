"""A family's row → a random model of a few hundred kilobytes with tokenizer, processor and chat template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlplora_vlm.families.card import card_for
from mlplora_vlm.families.processor import FamilyProcessor

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

MAX_LENGTH = 2048  # tokens
VOCABULARY = 512

# What the tokenizer learns its words from; any other text still becomes bytes.
TEXT = """
system user assistant USER: ASSISTANT: model human
what color is the shape? what is the color of the circle? what color is the rectangle? what color is the triangle?
what shape is in the image? what shape does the image contain? what shape is present? what is the blue shape?
is there a red shape? is there not a green shape in the image? is a teal shape present? is no triangle present?
does the image contain a yellow rectangle? does the image not contain a gray circle?
black blue brown gray green red teal yellow circle rectangle triangle yes no
Answer the question using a single word or phrase. Describe the image. a picture of a small black circle.
"""


DECODER = {
    "vocab_size": 0,
    "hidden_size": 48,
    "intermediate_size": 91,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": MAX_LENGTH,
}
"""The sizes of most rows' language models."""


class Token(str):
    """In a row's configuration: the id of this token."""


@dataclass(frozen=True)
class TinyFamily:
    """What sets a family's tiny model apart; widths share few factors with usual numbers of ranks."""

    model_type: str
    config: Mapping[str, Any]
    """For ``AutoConfig.for_model``; `Token` values become ids, and every ``vocab_size`` is set to the tokenizer's."""
    tokens: tuple[str, ...]
    """The tokenizer's special tokens, in the order of their ids from 0."""
    chat_template: str | None
    """Jinja; in the published template's format.  None: the family's processors have none."""
    eos: str
    pad: str
    bos: str | None = None
    unk: str | None = None
    named_tokens: Mapping[str, str] = field(default_factory=dict)
    """The tokenizer's further named tokens, such as ``image_token``."""
    adds_bos: bool = False
    """Whether the tokenizer itself puts the begin-of-sequence token first."""
    image_processor: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the family's image processor."""
    processor: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the family's processor."""
    answer_ends: tuple[str, ...] = ()
    """Tokens beside ``eos`` at which generation ends, as the published generation_config.json has them."""


def build(folder: Path, row: TinyFamily, seed: int = 0) -> Path:
    """Writes the model (fp32, the same bits for the same seed), tokenizer and processor into ``folder``."""
    folder, processor = Path(folder), build_processor(row)
    build_model(row, processor, seed).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def build_model(row: TinyFamily, processor: FamilyProcessor, seed: int = 0) -> PreTrainedModel:
    """The random model, in evaluation mode; the caller's random state is left as it was."""
    tokenizer = processor.tokenizer
    return random_model(build_config(row, tokenizer), tokenizer, row.answer_ends, seed)


def random_model(
    config: PreTrainedConfig,
    tokenizer: PreTrainedTokenizerFast,
    answer_ends: Sequence[str],
    seed: int = 0,
    dtype: str = "float32",
) -> PreTrainedModel:
    """A model of any size with random weights, in evaluation mode; the caller's random state is left as it was."""
    import torch
    from transformers import AutoModelForImageTextToText, GenerationConfig

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(config, dtype=getattr(torch, dtype))
        for name, parameter in model.named_parameters():
            if name.endswith(("_gate", "_projection_weight")) and not parameter.any():
                parameter.data.normal_(0.5, 0.1)  # Llama 3.2 Vision's and Gemma 3's: nobody would see the picture
    ends = [tokenizer.eos_token_id, *map(tokenizer.convert_tokens_to_ids, answer_ends)]
    model.generation_config = GenerationConfig(
        do_sample=False,
        max_new_tokens=16,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=ends if len(ends) > 1 else ends[0],
        pad_token_id=tokenizer.pad_token_id,
    )
    return model.eval()


def build_config(row: TinyFamily, tokenizer: PreTrainedTokenizerFast | None = None) -> PreTrainedConfig:
    """The model's configuration, its token ids and vocabulary those of the tokenizer."""
    from transformers import AutoConfig

    known = tokenizer or build_tokenizer(row)

    def resolved(value: Any) -> Any:
        if isinstance(value, Token):
            return known.convert_tokens_to_ids(str(value))
        if isinstance(value, Mapping):
            return {key: len(known) if key == "vocab_size" else resolved(part) for key, part in value.items()}
        if isinstance(value, list):
            return [resolved(part) for part in value]
        return value

    return AutoConfig.for_model(row.model_type, **resolved(row.config))


def build_processor(
    row: TinyFamily, tokenizer: PreTrainedTokenizerFast | None = None, **image_processor: Any
) -> FamilyProcessor:
    """The family's real processor classes around ``tokenizer``, or the tiny one.

    ``image_processor``: settings in place of the row's, such as a published model's.
    """
    import transformers
    from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING_NAMES
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES
    from transformers.models.auto.video_processing_auto import VIDEO_PROCESSOR_MAPPING_NAMES

    kind = getattr(transformers, PROCESSOR_MAPPING_NAMES[row.model_type])
    pictures = getattr(transformers, IMAGE_PROCESSOR_MAPPING_NAMES[row.model_type]["torchvision"])
    parts: dict[str, Any] = {"tokenizer": tokenizer or build_tokenizer(row)}
    parts["image_processor"] = pictures(**(image_processor or row.image_processor))
    if "video_processor" in kind.get_attributes():
        name = VIDEO_PROCESSOR_MAPPING_NAMES[row.model_type]["torchvision"]
        parts["video_processor"] = getattr(transformers, name)()
    if "feature_extractor" in kind.get_attributes():
        parts["feature_extractor"] = getattr(transformers, FEATURE_EXTRACTOR_MAPPING_NAMES[row.model_type])()
    stock = kind(**parts, **row.processor, chat_template=row.chat_template)
    return FamilyProcessor(stock, card_for(row.model_type))


def build_tokenizer(row: TinyFamily, text: str = TEXT, vocabulary: int = VOCABULARY) -> PreTrainedTokenizerFast:
    """A byte-level BPE trained on ``text``: the special tokens, 256 bytes and merges up to ``vocabulary`` tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(row.tokens),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(text.splitlines(), trainer)
    if row.adds_bos and row.bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{row.bos} $A",
            pair=f"{row.bos} $A $B",
            special_tokens=[(row.bos, tokenizer.token_to_id(row.bos))],
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=row.bos,
        eos_token=row.eos,
        pad_token=row.pad,
        unk_token=row.unk,
        extra_special_tokens=dict(row.named_tokens) or None,
        padding_side="left",  # for batched generation
        model_max_length=MAX_LENGTH,
        chat_template=row.chat_template,
    )
