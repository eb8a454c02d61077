"""Guards the reading of JSON as a stream against files that would take all memory, or end the process.

`ijson` keeps the path of every open list and object, each with the paths before it: 100,000 brackets would take 25 GB.
A whole number of more digits than Python reads (4300) is a segmentation fault in its C code (3.6.0).
"""

from __future__ import annotations

import re
from typing import BinaryIO

DEEPEST = 100  # open lists and objects: no data set's rows have even ten
STEP = 4096  # bytes read at a time, of which each could be a bracket
DIGITS = 1000  # in a row: no data set has such numbers, nor such texts
_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_OTHERS = bytes(set(range(256)) - set(b'[]{}"'))
_DIGIT = bytes(ord("0") if chr(byte).isdecimal() and byte < 128 else ord(" ") for byte in range(256))


class Shallow:
    """A binary file to be read by `ijson`; raises ValueError where its JSON is nested deeper than `DEEPEST`,
    or has `DIGITS` in a row.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._depth = file, 0
        self._escape, self._within = b"", 0  # what the last bytes left open: a backslash, a text
        self._before = b""

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes, as `ijson` asks for them."""
        read = self._file.read(min(size, STEP))
        if b"0" * DIGITS in (self._before + read).translate(_DIGIT):
            raise ValueError(f"a number of {DIGITS} digits and more")
        self._before = (self._before + read)[-DIGITS:]
        text = _ESCAPED.sub(b"", self._escape + read)
        self._escape = b"\\" if text.endswith(b"\\") else b""
        parts = text.translate(None, _OTHERS).split(b'"')
        brackets = b"".join(parts[self._within :: 2])  # those that are outside of texts
        self._within ^= (len(parts) - 1) % 2
        self._depth += sum(map(brackets.count, (b"[", b"{"))) - sum(map(brackets.count, (b"]", b"}")))
        if self._depth > DEEPEST:
            raise ValueError(f"nested deeper than {DEEPEST} lists and objects")
        return read
