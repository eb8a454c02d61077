"""LFM2-VL (``Lfm2VlForConditionalGeneration``): short convolutions between attention layers; tiles and a thumbnail."""

from __future__ import annotations

from types import MethodType
from typing import TYPE_CHECKING, Any

from mlplora_vlm.families.card import FamilyCard, blocks
from mlplora_vlm.families.pictures import Pictures

if TYPE_CHECKING:
    from torch import Tensor

MARKS = 2  # tokens around a picture


def spelled_out(stock: Any, width: int, height: int) -> int:
    """The tokens of what the processor writes for a picture; transformers 5.23 has no count for this family."""
    processor = stock.image_processor
    shape = {name: getattr(processor, name) for name in ("max_image_tokens", "encoder_patch_size", "downsample_factor")}
    large = processor._is_image_too_large(height, width, **shape, max_pixels_tolerance=processor.max_pixels_tolerance)
    columns, rows = 1, 1
    if large and processor.do_image_splitting:
        tiles = {name: getattr(processor, name) for name in ("min_tiles", "max_tiles", "tile_size")}
        columns, rows, *_ = processor._get_grid_layout(height, width, **tiles)
    whole = processor.smart_resize(height, width, min_image_tokens=processor.min_image_tokens, **shape)  # width first
    found = {"image_rows": [rows], "image_cols": [columns], "image_sizes": [whole[::-1]]}
    text = stock.replace_image_token(found, 0, use_image_special_tokens=stock.use_image_special_tokens)
    return len(stock.tokenizer(text, add_special_tokens=False)["input_ids"])


def by_tiles_and_size(stock: Any, limit: int) -> None:
    """Fewer tiles, then none, then smaller pictures: those are enlarged to a quarter of the bound at most."""
    processor, pictures = stock.image_processor, Pictures(tokens=spelled_out)
    while processor.max_tiles > processor.min_tiles and pictures.most(stock) > limit:
        processor.max_tiles -= 1
    if pictures.most(stock) > limit:
        processor.do_image_splitting = False
        processor.max_image_tokens = max(1, min(processor.max_image_tokens, limit - MARKS))
        processor.min_image_tokens = min(processor.min_image_tokens, max(1, processor.max_image_tokens // 4))


def project_at_once(model: Any) -> None:
    """All tiles of a batch go through the projector together; ``model``: with the stock classes.

    transformers 5.23 asks it once a tile: under ZeRO-3 a process with more tiles than another then waits for ever.
    """

    def get_image_features(
        inner: Any, pixel_values: Tensor, spatial_shapes: Tensor, pixel_attention_mask: Tensor, **options: Any
    ) -> Any:
        """The tower's output with, in ``pooler_output``, a tensor (tokens, language width) for each tile."""
        import torch

        inputs = {"pixel_values": pixel_values, "spatial_shapes": spatial_shapes}
        output = inner.vision_tower(**inputs, pixel_attention_mask=pixel_attention_mask, **options)
        side, squares, tokens = inner.multi_modal_projector.factor, [], []
        for patches, (rows, columns) in zip(output.last_hidden_state, spatial_shapes.tolist(), strict=True):
            grid = patches[: rows * columns].view(rows // side, side, columns // side, side, -1)
            squares.append(grid.transpose(0, 1).reshape(side, rows * columns // side, -1))
            tokens.append(rows * columns // side**2)
        projected = inner.multi_modal_projector(torch.cat(squares, dim=1)[None])  # one strip, as high as a token
        output.pooler_output = projected.flatten(0, 2).split(tokens)
        return output

    model.model.get_image_features = MethodType(get_image_features, model.model)


CARD = FamilyCard(
    model_type="lfm2_vl",
    name="LFM2-VL",
    language=blocks(
        r"model\.language_model\.layers",
        r"self_attn\.(?:[qkv]|out)_proj|conv\.(?:in|out)_proj",
        r"feed_forward\.w[123]",
    ),
    projector=r"model\.multi_modal_projector\.linear_[12]",
    vision=blocks(r"model\.vision_tower\.encoder\.layers", r"self_attn\.(?:[qkv]|out)_proj", r"mlp\.fc[12]"),
    unquantized=("model.vision_tower", "model.multi_modal_projector", "lm_head"),
    placeholder="<image>",
    pictures=Pictures(limit=by_tiles_and_size, tokens=spelled_out),
    mend=project_at_once,
    former=(("model.vision_tower.", "model.vision_tower.vision_model."),),
    recurrent=True,
    vllm="Language adapters; tower and projector with --enable-tower-connector-lora.",
)
