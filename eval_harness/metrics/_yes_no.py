"""The five figures of a yes/no benchmark, "yes" being the positive answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from eval_harness.figures import Figure, divided

if TYPE_CHECKING:
    from eval_harness.figures import Numbers

YES, NO = "yes", "no"


def five_figures(pairs: Iterable[tuple[str, str]], prefix: str = "") -> dict[str, Figure]:
    """accuracy, precision, recall, F1 and yes ratio of (answer as read, right answer) pairs.

    An answer that is neither "yes" nor "no" is wrong, and counts for accuracy and yes ratio alone.
    """
    import numpy as np

    counts = np.array(
        [
            (
                read == right,
                read == YES and right == YES,
                read == YES and right == NO,
                read == NO and right == YES,
                read == YES,
                1,
            )
            for read, right in pairs
        ],
        dtype=np.float64,
    ).reshape(-1, 6)

    def share(above: int, *below: int) -> Figure:
        return Figure(counts, lambda sums: divided(sums[..., above], sums[..., list(below)].sum(-1)))

    def f1(sums: Numbers) -> Numbers:
        return divided(2 * sums[..., 1], 2 * sums[..., 1] + sums[..., 2] + sums[..., 3])

    return {
        f"{prefix}accuracy": share(0, 5),
        f"{prefix}precision": share(1, 1, 2),
        f"{prefix}recall": share(1, 1, 3),
        f"{prefix}F1": Figure(counts, f1),
        f"{prefix}yes ratio": share(4, 5),
    }
