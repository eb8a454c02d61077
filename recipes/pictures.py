"""What pictures cost a recipe, by the family's real processor: tokens of a row, and positions in the vision tower."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.collate import PromptCollator
from data_prep.demo.models import TINY
from data_prep.demo.tiny import tiny_family
from data_prep.demo.tiny.build import TinyFamily, build_processor
from data_prep.example import Example
from mlplora_vlm.activation_bytes import TowerInput
from mlplora_vlm.errors import MendableError
from mlplora_vlm.families.card import card_of
from mlplora_vlm.families.pictures import COSTLY, unbounded
from mlplora_vlm.families.processor import FamilyProcessor
from mlplora_vlm.families.published import published_config, published_processor

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerFast

    from mlplora_vlm.load import ModelSection

Size = tuple[int, int]
"""(width, height) in pixels."""

REFERENCE: tuple[Size, ...] = ((640, 480), (1024, 768), (2048, 1536))
"""Pictures whose cost is shown."""
SHAPES = ((1, 1), (4, 3), (3, 4), (2, 1), (1, 2), (4, 1), (1, 4))
TRIED: tuple[Size, ...] = tuple(
    dict.fromkeys(
        (round(edge * width / max(width, height)), round(edge * height / max(width, height)))
        for edge in (28 * 1.1**step for step in range(53))  # 28 to 3,979 pixels
        for width, height in SHAPES
    )
) + tuple(size for size in COSTLY if max(size) <= 4096)
"""Pictures among which the costliest that fits is found."""


@dataclass(frozen=True)
class PictureCosts:
    """What pictures cost; nothing is known of a model whose processor is not at hand."""

    tokens: dict[Size, int] = field(default_factory=dict)
    """By the size of a picture, for each of `REFERENCE`."""
    tower: TowerInput | None = None
    """What the vision tower is given of the costliest picture that fits into a row."""


def picture_costs(model: ModelSection, config: PreTrainedConfig, max_length: int) -> PictureCosts:
    """Pictures are bounded as ``model`` says; rows longer than ``max_length`` tokens are left out of a training.

    Raises `MendableError` where the bound cannot be kept, or not even the cheapest picture leaves room in a row.
    """
    processor = offline_processor(model, config)
    if processor is None:
        return PictureCosts()
    stock, pictures = processor.stock, processor.card.pictures
    if model.picture_tokens is not None:
        pictures.bound(stock, model.picture_tokens)
    tried = {size: pictures.tokens(stock, *size) for size in TRIED}
    if (least := min(tried.values())) >= max_length:
        bound = "" if pictures.limit is unbounded else f", or bound model.picture_tokens below {max_length}"
        raise MendableError(
            f"a picture is {least} tokens long and data.max_length {max_length}: no row would be left",
            "data.max_length",
            f"set it above {least}, with room for the question{bound}",
        )
    fitting = {size: tokens for size, tokens in tried.items() if tokens < max_length}
    return PictureCosts(
        {size: pictures.tokens(stock, *size) for size in REFERENCE},
        max((tower_input(processor, config, size) for size in _costliest(fitting)), key=lambda seen: seen.positions),
    )


def offline_processor(model: ModelSection, config: PreTrainedConfig) -> FamilyProcessor | None:
    """The family's real processor with the model's settings; around a tiny tokenizer where the model is not here.

    None where neither its settings are kept here nor its files are in a folder or the hub's local cache.
    """
    if model.id.startswith(TINY):
        return build_processor(tiny_family(model.id.removeprefix(TINY)))
    if published_config(model.id) is not None:
        return with_published_settings(model.id, tiny_family(config.model_type))
    return local_processor(model, config)


def with_published_settings(
    model_id: str, row: TinyFamily, tokenizer: PreTrainedTokenizerFast | None = None
) -> FamilyProcessor | None:
    """The family's processor with a model's published image settings around ``tokenizer``, or the family's tiny one.

    None where the settings are not kept here.
    """
    if (settings := published_processor(model_id)) is None:
        return None
    image_processor = settings.pop("image_processor")
    processor = build_processor(replace(row, processor={**row.processor, **settings}), tokenizer, **image_processor)
    processor.tokenizer.model_max_length = 10**9  # it would warn of large images
    return processor


def local_processor(model: ModelSection, config: PreTrainedConfig) -> FamilyProcessor | None:
    """The model's own processor from its folder or the hub's local cache; None where neither has it."""
    from transformers import AutoProcessor

    from mlplora_vlm.base_files import IMAGE_SETTINGS
    from mlplora_vlm.load import load_processor

    if (folder := Path(model.id).expanduser()).is_dir():
        return load_processor(folder, model) if any((folder / name).exists() for name in IMAGE_SETTINGS) else None
    try:
        stock = AutoProcessor.from_pretrained(model.id, revision=model.revision or "main", local_files_only=True)
    except (OSError, ValueError):
        return None
    return FamilyProcessor(stock, card_of(config))


def tower_input(processor: FamilyProcessor, config: PreTrainedConfig, size: Size) -> TowerInput:
    """Positions that a picture of this size has in the vision tower, counted on what the processor makes of it."""
    from PIL import Image

    grey = Image.new("RGB", size, (128, 128, 128))
    batch = PromptCollator(processor)([Example("grey", (grey,), "what is it?", "", (), "plan")])
    vision, shape = config.vision_config, batch["pixel_values"].shape
    sides = vision.patch_size if isinstance(vision.patch_size, list | tuple) else [vision.patch_size] * 2
    if len(shape) > 3 and shape[-3] == 3:  # pixels of tiles
        tiles = prod(shape[:-3])
        patches = tiles * (shape[-2] // sides[0]) * (shape[-1] // sides[1])
    else:  # (…, patches, numbers of a patch)
        tiles = prod(shape[:-2])
        patches = prod(shape) // (3 * prod(sides) * (getattr(vision, "temporal_patch_size", None) or 1))
    positions = patches + tiles  # many towers put a token of their own before each tile's
    joined = "aspect_ratio_mask" in batch  # Llama 3.2 Vision: the tiles of a picture attend to each other
    return TowerInput(positions, positions if joined else -(-positions // tiles))


def _costliest(tokens: dict[Size, int]) -> list[Size]:
    """The smallest and the largest picture of each of the two highest costs: some processors shrink features."""
    chosen = []
    for cost in sorted(set(tokens.values()))[-2:]:
        sizes = sorted((size for size in tokens if tokens[size] == cost), key=prod)
        chosen += [sizes[0], sizes[-1]]
    return list(dict.fromkeys(chosen))
