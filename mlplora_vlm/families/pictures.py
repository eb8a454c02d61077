"""What a picture costs in tokens, and how to bound it; shared by the families whose processors work alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlplora_vlm.errors import MendableError

COSTLY = (
    *((4096, 4096), (4096, 1024), (1024, 4096), (8192, 512), (512, 8192), (336, 336), (1000, 700)),
    *((60, 40), (7, 50)),  # some processors enlarge small pictures beyond what larger ones cost
)
"""(width, height) of pictures that cost the most, whichever way a processor shrinks, cuts or enlarges them."""


def counted(stock: Any, width: int, height: int) -> int:
    """The stock processor's own count of a picture's tokens, the tokens that mark it included."""
    return int(stock._get_num_multimodal_tokens(image_sizes=[(height, width)])["num_image_tokens"][0])


def unbounded(stock: Any, limit: int) -> None:
    """For families whose pictures all cost the same: there is nothing to set."""


def by_pixels(stock: Any, limit: int, frames: int = 1) -> None:
    """Qwen's way: a picture is shrunk to at most as many pixels as ``limit`` merged patches show.

    ``frames``: how often the processor counts each pixel.  The lower bound goes down to a quarter of the upper one:
    small pictures are enlarged to it with both sides rounded up.
    """
    side = stock.image_processor.patch_size * stock.image_processor.merge_size
    size = stock.image_processor.size
    most = limit * side**2 * frames
    stock.image_processor.size = type(size)(
        **{"shortest_edge": min(size["shortest_edge"], most // 4), "longest_edge": min(size["longest_edge"], most)}
    )


def by_grid(stock: Any, limit: int, filled: Callable[[Any, int, int], int] = counted) -> None:
    """LLaVA-NeXT's way: of the grids of tiles that pictures are cut into, those stay that are cheap enough when filled.

    A single tile where none is.  ``filled``: (stock processor, width, height of a grid in pixels) → at most its tokens.
    The model's configuration holds the grids too (`FamilyCard.mirrored`): it finds a picture's grid anew.
    """
    processor = stock.image_processor
    tile = processor.size.shortest_edge or processor.size.height
    grids = [grid for grid in processor.image_grid_pinpoints if filled(stock, grid[1], grid[0]) <= limit]
    processor.image_grid_pinpoints = grids or [[tile, tile]]


def spelled(stock: Any, width: int, height: int) -> int:
    """Idefics3's count: its tile names (``<row_1_col_2>``) are one token or many, as the tokenizer has it.

    transformers 5.23 always counts one.
    """
    _, rows, columns = stock.image_processor.get_number_of_image_patches(height, width)
    text = stock.replace_image_token({"rows": [[rows]], "cols": [[columns]]}, 0)
    return len(stock.tokenizer(text, add_special_tokens=False)["input_ids"])


def by_squares(stock: Any, limit: int) -> None:
    """Idefics3's way: every picture is scaled to the same longest edge, and cut into squares where it exceeds one."""
    processor, size = stock.image_processor, stock.image_processor.size
    square = processor.max_image_size["longest_edge"]
    for edge in range(size["longest_edge"] // square * square, 0, -square):
        processor.size = type(size)(longest_edge=edge)
        if spelled(stock, edge, edge) <= limit:
            return


@dataclass(frozen=True)
class Pictures:
    """How a family turns a picture into tokens."""

    limit: Callable[[Any, int], None] = unbounded
    """(stock processor, tokens): changes the processor's own settings such that no picture costs more."""
    tokens: Callable[[Any, int, int], int] = counted
    """(stock processor, width, height in pixels) → tokens in the sequence, those that mark the picture included."""

    def most(self, stock: Any) -> int:
        """What the costliest picture costs."""
        return max(self.tokens(stock, width, height) for width, height in COSTLY)

    def bound(self, stock: Any, limit: int) -> None:
        """Sees to it that no picture costs more than ``limit`` tokens; raises `MendableError` where that cannot be."""
        if self.most(stock) <= limit:
            return
        self.limit(stock, limit)
        if (least := self.most(stock)) > limit:
            raise MendableError(
                f"pictures cannot be bounded to {limit} tokens: {type(stock).__name__} makes at least {least} of one",
                "model.picture_tokens",
                f"set it to {least} or more, or leave it out",
            )


def by_fewer(setting: str, tokens: Callable[[Any, int, int], int] = counted) -> Callable[[Any, int], None]:
    """Lowers one of the image processor's numbers (of tiles, of crops), down to 1, until no picture costs too much."""

    def limit(stock: Any, most: int) -> None:
        while getattr(stock.image_processor, setting) > 1 and Pictures(tokens=tokens).most(stock) > most:
            setattr(stock.image_processor, setting, getattr(stock.image_processor, setting) - 1)

    return limit
