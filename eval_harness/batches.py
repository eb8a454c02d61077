"""Which questions are answered together, and in which order."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator, Sequence


class Batches:
    """Yields the examples' numbers batch by batch; batches that do not fit are halved on the way."""

    def __init__(
        self, counts: Sequence[int], pictures: Sequence[tuple[Hashable, ...]], lengths: Sequence[int], batch_size: int
    ) -> None:
        """Of each example: what its batch must share, what its pictures are called, and its tokens."""
        self._counts, self._size = counts, batch_size
        self._left = deque(_order(counts, pictures, lengths))

    def __iter__(self) -> Iterator[list[int]]:
        while self._left:
            same = self._counts[self._left[0]]
            numbers: list[int] = []
            while self._left and len(numbers) < self._size and self._counts[self._left[0]] == same:
                numbers.append(self._left.popleft())
            yield numbers

    def halve(self, numbers: Sequence[int]) -> int:
        """Puts the batch back, and from now on yields batches of at most half its size, which is returned."""
        self._left.extendleft(reversed(numbers))
        self._size = max(1, len(numbers) // 2)
        return self._size


def _order(counts: Sequence[int], pictures: Sequence[tuple[Hashable, ...]], lengths: Sequence[int]) -> list[int]:
    """Longest first; questions about the same pictures one after the other, where the longest of them stands."""
    longest: dict[tuple[Hashable, ...], int] = {}
    first: dict[tuple[Hashable, ...], int] = {}
    for number, shown in enumerate(pictures):
        longest[shown] = max(longest.get(shown, 0), lengths[number])
        first.setdefault(shown, number)

    def place(number: int) -> tuple[int, int, int, int]:
        shown, own = pictures[number], -lengths[number]
        return (counts[number], -longest[shown], first[shown], own) if shown else (counts[number], own, -1, own)

    return sorted(range(len(counts)), key=place)
