"""MiniCPM-V 4.6 (``MiniCPMV4_6ForConditionalGeneration``): Qwen3.5's language model, pictures whole and in slices."""

from __future__ import annotations

from types import MethodType
from typing import TYPE_CHECKING, Any

from mlplora_vlm.families.card import FamilyCard, blocks
from mlplora_vlm.families.pictures import COSTLY, Pictures
from mlplora_vlm.families.qwen3_5 import CARD as QWEN3_5

if TYPE_CHECKING:
    from torch import Tensor


def by_slices(stock: Any, width: int, height: int) -> int:
    """Tokens of the whole picture, of its slices and their marks, of the breaks between rows and of its number.

    The number is counted as one digit: a row's eleventh picture and each after it cost a token more.
    """
    pictures, size = stock.image_processor, (height, width)
    how = {"scale_resolution": pictures.scale_resolution, "patch_size": pictures.patch_size}
    how["downsample_mode"] = pictures.downsample_mode
    area = (pictures.patch_size * (2 if pictures.downsample_mode == "4x" else 4)) ** 2  # pixels a token
    grid = pictures.slice_mode and pictures.get_sliced_grid(size, pictures.max_slice_nums, pictures.scale_resolution)
    whole = pictures.find_best_resize(size, allow_upscale=not grid, **how)
    tokens = 3 * stock.default_use_image_id + whole[0] * whole[1] // area + 2
    if grid:
        cut = pictures.get_refine_size(size, grid, allow_upscale=True, **how)
        tokens += cut[0] * cut[1] // area + 2 * grid[0] * grid[1] + grid[0] - 1
    return int(tokens)


def fewer_slices(stock: Any, limit: int) -> None:
    """As many slices as fit; where even one does not, the resolution goes down, by a token's side at a time."""
    pictures = stock.image_processor
    side, scale = 4 * pictures.patch_size, pictures.scale_resolution
    choices = [(slices, scale) for slices in range(pictures.max_slice_nums, 0, -1)]
    choices += [(1, smaller) for smaller in range(scale - side, 0, -side)]
    for pictures.max_slice_nums, pictures.scale_resolution in choices:
        if max(by_slices(stock, *size) for size in COSTLY) <= limit:
            return


def merge_at_once(model: Any) -> None:
    """All slices of a batch go through the merger together; ``model``: with the stock classes.

    transformers 5.23 asks it once a slice: under ZeRO-3 a process with more slices than another then waits for ever.
    """

    def forward(merger: Any, hidden_states: Tensor, target_sizes: Tensor) -> list[Tensor]:
        """Features (1, patches, width) of slices of ``target_sizes`` (slices, 2) patches → one (tokens, width)."""
        import torch

        (high, wide), grids = merger.merge_kernel_size, target_sizes.tolist()
        features = hidden_states[0]
        for mlp in merger.mlp:
            parts = features.split([rows * columns for rows, columns in grids])
            merged = [
                part.view(rows // high, high, columns // wide, wide, -1)
                .transpose(1, 2)
                .reshape(-1, part[0].numel() * high * wide)
                for part, (rows, columns) in zip(parts, grids, strict=True)
            ]
            features = mlp(torch.cat(merged))
            grids = [(rows // high, columns // wide) for rows, columns in grids]
        return [features]

    model.model.merger.forward = MethodType(forward, model.model.merger)


CARD = FamilyCard(
    model_type="minicpmv4_6",
    name="MiniCPM-V 4.6",
    language=QWEN3_5.language,
    projector=r"model\.(?:vision_tower\.vit_merger|merger\.mlp\.\d+)\.(?:self_attn\.(?:[qkv]|out)_proj|linear_[12])",
    vision=blocks(r"model\.vision_tower\.encoder\.layers", r"self_attn\.(?:[qkv]|out)_proj", r"mlp\.fc[12]"),
    unquantized=("model.vision_tower", "model.merger", *QWEN3_5.unquantized[1:]),
    placeholder="<|image_pad|>",
    pictures=Pictures(limit=fewer_slices, tokens=by_slices),
    mend=merge_at_once,
    template_options=QWEN3_5.template_options,
    counted_together=True,  # they are numbered, and the eleventh's number has two digits
    recurrent=True,
    vllm="Language adapters alone; serve the merged model where tower or projector was adapted.",
)
