"""The progress bar of long steps."""

from __future__ import annotations

import sys
from typing import Any


def progress_bar(rows: Any = None, *, total: int | None, description: str, unit: str, shown: bool = True) -> Any:
    """A tqdm bar over ``rows`` (or one to be updated by hand); in a log file it writes every ten seconds only."""
    from tqdm import tqdm

    seconds = 0.1 if sys.stderr.isatty() else 10.0
    return tqdm(rows, total=total, desc=description, unit=unit, mininterval=seconds, disable=not shown)
