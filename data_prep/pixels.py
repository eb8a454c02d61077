"""From a batch's tensors back to pictures: what the model is shown after resizing, cropping, tiling and normalising.

How a picture lies in the tensors is told by what else the processor puts beside them, and not by the family's name.
The layouts are those of the image processors of transformers 5.23 (src/transformers/models/*/image_processing_*.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from math import isqrt
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from mlplora_vlm.families.processor import FamilyProcessor

Batch = Mapping[str, Any]
T = TypeVar("T")


def shown_pictures(processor: FamilyProcessor, batch: Batch, pictures: Sequence[Image]) -> list[list[Image]]:
    """Of each of the row's pictures the tiles that the model gets, in the order in which it gets them.

    ``batch`` holds this one row; ``pictures`` are what the processor made it of.  A picture that is not cut is one
    tile.  Where a family also shows the whole picture in small, that is the first or the last of several.
    """
    if not pictures:
        return []  # what such a batch holds is the collator's grey stand-in
    counts = [len(_tiles(processor, alone(processor, picture))) for picture in pictures]
    return by_picture(_tiles(processor, batch), counts)


def by_picture(found: Sequence[T], alone: Sequence[int]) -> list[list[T]]:
    """What a row's pictures have, one after the other, cut into what each has; ``alone``: how many where it is alone.

    LLaVA-OneVision cuts only a lone picture into tiles, and of several each has as many as the others.
    """
    counts = alone if sum(alone) == len(found) else [len(found) // len(alone)] * len(alone)
    assert sum(counts) == len(found), f"{len(found)} of {len(alone)} pictures, where alone they have {alone}"
    rest = iter(found)
    return [list(islice(rest, count)) for count in counts]


def alone(processor: FamilyProcessor, picture: Image) -> Batch:
    """What the processor makes of the picture where there is nothing else."""
    text = (processor.tokenizer.bos_token or "") + processor.placeholder  # some processors would put it there
    batch: Batch = processor(text=[text], images=[[picture]], add_special_tokens=False, return_tensors="pt")
    return batch


def _tiles(processor: FamilyProcessor, batch: Batch) -> list[Image]:
    settings = processor.image_processor
    cut = next((layout for key, layout in LAYOUTS.items() if key in batch), _whole)
    return [_picture(tile, settings) for tile in cut(batch, settings)]


def _whole(batch: Batch, settings: Any) -> Iterator[Tensor]:
    """(…, 3, height, width), with empty tiles and lower and right edges where other pictures have more."""
    for tile in batch["pixel_values"].flatten(0, -4):
        if not _zero_is_padding(settings):
            yield tile
        elif (used := tile.any(0)).any():
            (rows,), (columns,) = used.any(1).nonzero(as_tuple=True), used.any(0).nonzero(as_tuple=True)
            yield tile[:, : int(rows[-1]) + 1, : int(columns[-1]) + 1]


def _zero_is_padding(settings: Any) -> bool:
    """Whether no colour of 8 bits becomes 0 in all channels: the mean lies between two."""
    return settings.do_normalize and any(not float(mean * 255).is_integer() for mean in settings.image_mean)


def _merged(batch: Batch, settings: Any) -> Iterator[Tensor]:
    """Qwen's: (patches of all pictures, 3·frames·side²), those that become one token standing together."""
    side, merge, start = settings.patch_size, settings.merge_size, 0
    for _, rows, columns in batch["image_grid_thw"].tolist():
        patches = batch["pixel_values"][start : start + rows * columns]
        start += rows * columns
        blocks = patches.reshape(rows // merge, columns // merge, merge, merge, 3, -1, side, side)
        one = blocks[..., 0, :, :]  # of the frames, which are all the same
        yield one.permute(4, 0, 2, 5, 1, 3, 6).reshape(3, rows * side, columns * side)


def _by_shapes(batch: Batch, settings: Any) -> Iterator[Tensor]:
    """NaFlex: (tiles, patches, side²·3), the patches row by row, those beyond a tile's own empty."""
    for tile, (rows, columns) in zip(batch["pixel_values"], batch["spatial_shapes"].tolist(), strict=True):
        yield _from_patches(tile, rows, columns)


def _by_positions(batch: Batch, settings: Any) -> Iterator[Tensor]:
    """As NaFlex, each patch with its (column, row), -1 for an empty one."""
    for tile, positions in zip(batch["pixel_values"], batch["image_position_ids"], strict=True):
        columns, rows = (positions.amax(0) + 1).tolist()
        yield _from_patches(tile, rows, columns)


def _squares(batch: Batch, settings: Any) -> Iterator[Tensor]:
    """As NaFlex, all tiles square and full."""
    for tile in batch["pixel_values"]:
        yield _from_patches(tile, isqrt(len(tile)), isqrt(len(tile)))


def _strip(batch: Batch, settings: Any) -> Iterator[Tensor]:
    """MiniCPM-V's: (1, 3, side, patches·side), the patches of all tiles in one strip."""
    sizes = batch["target_sizes"].tolist()
    side = batch["pixel_values"].shape[2]
    strips = batch["pixel_values"][0].split([rows * columns * side for rows, columns in sizes], dim=2)
    for strip, (rows, columns) in zip(strips, sizes, strict=True):
        patches = strip.reshape(3, side, rows, columns, side)
        yield patches.transpose(1, 2).reshape(3, rows * side, columns * side)


def _from_patches(patches: Tensor, rows: int, columns: int) -> Tensor:
    """(rows·columns or more, side²·3), each patch with its channels last → (3, height, width)."""
    side = isqrt(patches.shape[1] // 3)
    grid = patches[: rows * columns].reshape(rows, columns, side, side, 3)
    return grid.permute(4, 0, 2, 1, 3).reshape(3, rows * side, columns * side)


LAYOUTS: dict[str, Callable[[Batch, Any], Iterator[Tensor]]] = {
    "image_grid_thw": _merged,  # Qwen, GLM
    "spatial_shapes": _by_shapes,  # LFM2-VL
    "image_position_ids": _by_positions,  # Gemma 4
    "image_num_crops": _squares,  # Molmo 2
    "target_sizes": _strip,  # MiniCPM-V
}
"""By the name of a tensor that only such processors give; those of all others are (…, 3, height, width)."""


def _picture(pixels: Tensor, settings: Any) -> Image:
    """(3, height, width) as the image processor normalised it → a picture."""
    import torch
    from PIL import Image

    colours = pixels.float()
    if settings.do_normalize:
        mean, std = (torch.tensor(values)[:, None, None] for values in (settings.image_mean, settings.image_std))
        colours = colours * std + mean
    if settings.do_rescale:
        colours = colours / settings.rescale_factor
    return Image.fromarray(colours.round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy())
