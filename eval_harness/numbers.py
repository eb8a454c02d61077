"""How results are written for people: shares as percent, durations, memory, counts, errors."""

from __future__ import annotations

from math import isfinite
from typing import TypeGuard

MISSING = "–"
_SPACE = "\u00a0"  # keeps a number and its unit on one line


def known(value: object) -> TypeGuard[float]:
    """Whether ``value`` is a finite number (True and False are not numbers here)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def percent(share: float | None) -> str:
    """0.948 → ``94.8 %``."""
    return f"{100 * share:.1f}{_SPACE}%" if known(share) else MISSING


def interval(low: float | None, high: float | None) -> str:
    """(0.929, 0.964) → ``92.9–96.4``, in percent."""
    return f"{100 * low:.1f}–{100 * high:.1f}" if known(low) and known(high) else ""


def of_all(share: float, n: int) -> str:
    """0.9375 of 16 → ``15 of 16``."""
    return f"{round(share * n)} of {n}"


def count(value: float | None) -> str:
    """1234567 → ``1,234,567``."""
    return f"{value:,.0f}" if known(value) else MISSING


def error(value: float | None) -> str:
    """1.23e-07 → ``1.2e-7``; exactly zero → ``0``."""
    return _scientific(value, 1) if known(value) else MISSING


def decimal(value: float | None, digits: int = 3) -> str:
    """A plain number with a fixed number of digits after the point."""
    return f"{value:.{digits}f}" if known(value) else MISSING


def rate(value: float | None) -> str:
    """A learning rate: 0.0003 → ``3e-4``."""
    return _scientific(value, 2) if known(value) else MISSING


def duration(seconds: float | None) -> str:
    """0.42 → ``0.42 s``; 75 → ``1 min 15 s``; 4000 → ``1 h 07 min``."""
    if not known(seconds):
        return MISSING
    if seconds < 10:
        return f"{seconds:.2g}{_SPACE}s" if seconds < 1 else f"{seconds:.1f}{_SPACE}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{_SPACE}s"
    if whole < 3600:
        return f"{whole // 60}{_SPACE}min{_SPACE}{whole % 60:02d}{_SPACE}s"
    return f"{whole // 3600}{_SPACE}h{_SPACE}{whole % 3600 // 60:02d}{_SPACE}min"


def memory(mib: float | None) -> str:
    """3174.4 MiB → ``3.1 GiB``."""
    if not known(mib):
        return MISSING
    return f"{mib / 1024:.1f}{_SPACE}GiB" if mib >= 1024 else f"{mib:.0f}{_SPACE}MiB"


def _scientific(value: float, digits: int) -> str:
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}" if value else "0"
