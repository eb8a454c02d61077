"""A random LLaVA of a few hundred kilobytes, for the smoke preset and the tests: real classes, nothing learnt.

Its widths share few factors with the usual numbers of ranks, so sharding has remainders to get right.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration, LlavaProcessor, PreTrainedTokenizerFast

CHAT_TEMPLATE = Path(__file__).with_name("chat_template.jinja")
PIXELS, PATCH = 28, 14  # (28 / 14)^2 = 4 picture tokens
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<pad>", "<image>")
MAX_LENGTH = 512  # tokens

# What the tokenizer learns its words from; any other text still becomes bytes.
TEXT = """
system user assistant
what color is the shape? what is the color of the circle? what color is the rectangle? what color is the triangle?
what shape is in the image? what shape does the image contain? what shape is present? what is the blue shape?
is there a red shape? is there not a green shape in the image? is a teal shape present? is no triangle present?
does the image contain a yellow rectangle? does the image not contain a gray circle?
black blue brown gray green red teal yellow circle rectangle triangle yes no
Answer the question using a single word or phrase. Describe the image. a picture of a small black circle.
"""


def build(folder: Path, seed: int = 0) -> Path:
    """Writes the model (fp32, the same bits for the same seed), tokenizer and processor into ``folder``: a second."""
    processor = build_processor()
    model = build_model(processor, seed)
    folder = Path(folder)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def build_model(processor: LlavaProcessor, seed: int = 0) -> LlavaForConditionalGeneration:
    """Two Llama layers of width 48 behind a CLIP tower of width 32; the caller's random state is left as it was."""
    import torch
    from transformers import (
        CLIPVisionConfig,
        GenerationConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
    )

    tokenizer = processor.tokenizer
    ends = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=61,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=PIXELS,
        patch_size=PATCH,
        projection_dim=32,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=48,
        intermediate_size=91,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=False,
        **ends,
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=processor.image_token_id,
        image_seq_length=(PIXELS // PATCH) ** 2,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        tie_word_embeddings=False,
        **ends,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlavaForConditionalGeneration._from_config(config, dtype=torch.float32)
    model.generation_config = GenerationConfig(do_sample=False, max_new_tokens=16, **ends)
    return model.eval()


def build_processor() -> LlavaProcessor:
    """The tokenizer, CLIP's pixels at 28 x 28, and the demo model's chat template."""
    from transformers import CLIPImageProcessor, LlavaProcessor

    template = CHAT_TEMPLATE.read_text(encoding="utf-8")
    tokenizer = _tokenizer()
    tokenizer.chat_template = template
    side = {"height": PIXELS, "width": PIXELS}
    return LlavaProcessor(
        image_processor=CLIPImageProcessor(size=side, crop_size=side, do_center_crop=False),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,  # the class token, which "default" leaves out again
        chat_template=template,
        image_token="<image>",
    )


def _tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE learnt from TEXT: 256 bytes, the special tokens and a few merges."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=397,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT.splitlines(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<pad>",
        unk_token="<|endoftext|>",
        padding_side="left",  # for batched generation
        model_max_length=MAX_LENGTH,
    )
