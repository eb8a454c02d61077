"""Memory of a process and all that it started, shared pages counted once, as Linux tells it while they run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_KINDS = {"Pss_Anon": "held", "Pss_Shmem": "held", "Pss_File": "mapped"}


@dataclass(frozen=True)
class Resident:
    """Bytes; a page that several processes share counts for each of them in proportion."""

    held: int = 0
    """Their own memory and what they share through /dev/shm: it stays until they give it back."""
    mapped: int = 0
    """Pages of mapped files, such as Arrow sets: the system drops them, and reads them again, as it sees fit."""

    def __add__(self, other: Resident) -> Resident:
        return Resident(self.held + other.held, self.mapped + other.mapped)


def resident(process: int) -> Resident:
    """Of the process with this number and its descendants; those that end meanwhile count nothing."""
    return sum((_own(each) for each in (process, *_descendants(process))), Resident())


def _descendants(process: int) -> Iterator[int]:
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, _text(path).split()):
            yield child
            yield from _descendants(child)


def _own(process: int) -> Resident:
    found = {"held": 0, "mapped": 0}
    for line in _text(Path(f"/proc/{process}/smaps_rollup")).splitlines():
        name, _, value = line.partition(":")
        if name in _KINDS:
            found[_KINDS[name]] += 1024 * int(value.split()[0])
    return Resident(**found)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return ""
