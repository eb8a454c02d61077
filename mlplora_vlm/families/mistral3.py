"""Mistral Small 3.1, 3.2, Ministral 3 (``Mistral3ForConditionalGeneration``): Pixtral tower, 2 x 2 patches a token."""

from __future__ import annotations

from math import ceil, isqrt
from typing import TYPE_CHECKING, Any

from mlplora_vlm.families.card import FamilyCard, blocks
from mlplora_vlm.families.pictures import Pictures

if TYPE_CHECKING:
    from PIL.Image import Image


def enlarged(stock: Any, width: int, height: int) -> tuple[int, int]:
    """The size of a picture such that it makes two tokens or more.

    transformers 5.23 takes a batch's features apart wrongly where they are those of one token (its ``squeeze(0)``).
    """
    longest, side = max(width, height), _side(stock)
    if longest > side:
        return width, height
    return max(1, 2 * side * width // longest), max(1, 2 * side * height // longest)


def with_enlarged(stock: Any, *, images: list[list[Image]] | None = None, **options: Any) -> Any:
    """The stock processor's output for pictures of which none is too small."""
    if images:
        images = [[image.resize(enlarged(stock, *image.size)) for image in row] for row in images]
    return stock(images=images, **options)


def by_rows(stock: Any, width: int, height: int) -> int:
    """A token for each 2 x 2 patches of the picture, and one more at the end of each row."""
    size = enlarged(stock, width, height)
    ratio = max(1.0, max(size) / stock.image_processor.size["longest_edge"])
    columns, rows = (ceil(int(length / ratio) / _side(stock)) for length in size)
    return rows * (columns + 1)


def by_edge(stock: Any, limit: int) -> None:
    """A square of n x n costs n·(n + 1), and no longer picture costs more; n is at least 2."""
    rows = max(2, (isqrt(1 + 4 * limit) - 1) // 2)
    size = stock.image_processor.size
    stock.image_processor.size = type(size)(longest_edge=min(size["longest_edge"], rows * _side(stock)))


def _side(stock: Any) -> int:
    """Pixels along a token's side."""
    return int(stock.patch_size * stock.spatial_merge_size)


CARD = FamilyCard(
    model_type="mistral3",
    name="Mistral Small 3",
    language=blocks(r"model\.language_model\.layers"),
    projector=r"model\.multi_modal_projector\.(?:patch_merger\.merging_layer|linear_[12])",
    vision=blocks(
        r"model\.vision_tower\.transformer\.layers", r"attention\.[qkvo]_proj", r"feed_forward\.(?:gate|up|down)_proj"
    ),
    unquantized=("model.vision_tower", "model.multi_modal_projector", "lm_head"),
    placeholder="[IMG]",
    pictures=Pictures(limit=by_edge, tokens=by_rows),
    encode=with_enlarged,
    former=(
        ("model.language_model.", "language_model.model."),
        ("model.multi_modal_projector.", "multi_modal_projector."),
        ("model.vision_tower.", "vision_tower."),
    ),
    vllm="Language adapters alone; serve the merged model where tower or projector was adapted.",
)
