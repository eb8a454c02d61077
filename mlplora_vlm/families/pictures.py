"""What a picture costs in tokens, and how to bound it; shared by the families whose processors work alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlplora_vlm.errors import MendableError

LARGE = ((4096, 4096), (4096, 1024), (1024, 4096), (8192, 512), (512, 8192), (336, 336), (1000, 700))
"""(width, height) of pictures that cost the most, whichever way a processor shrinks or cuts them."""


def counted(stock: Any, width: int, height: int) -> int:
    """The stock processor's own count of a picture's tokens, the tokens that mark it included."""
    return int(stock._get_num_multimodal_tokens(image_sizes=[(height, width)])["num_image_tokens"][0])


def unbounded(stock: Any, limit: int) -> None:
    """For families whose pictures all cost the same: there is nothing to set."""


def by_pixels(stock: Any, limit: int) -> None:
    """Qwen's way: a picture is shrunk to at most as many pixels as ``limit`` merged patches show."""
    side = stock.image_processor.patch_size * stock.image_processor.merge_size
    size = stock.image_processor.size
    most = limit * side**2
    stock.image_processor.size = type(size)(
        **{"shortest_edge": min(size["shortest_edge"], most), "longest_edge": min(size["longest_edge"], most)}
    )


@dataclass(frozen=True)
class Pictures:
    """How a family turns a picture into tokens."""

    limit: Callable[[Any, int], None] = unbounded
    """(stock processor, tokens): changes the processor's own settings such that no picture costs more."""
    tokens: Callable[[Any, int, int], int] = counted
    """(stock processor, width, height in pixels) → tokens in the sequence, those that mark the picture included."""

    def most(self, stock: Any) -> int:
        """What the costliest picture costs."""
        return max(self.tokens(stock, width, height) for width, height in LARGE)

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
