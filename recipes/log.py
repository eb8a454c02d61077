"""run.log: what a run and the processes it starts print, without the progress bars' many states."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

END = b"\0"
"""Ends the copying; the pipe itself stays open as long as a process that was started inside lives on."""


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """Inside, whatever goes to stdout or stderr goes to the terminal and is appended to ``path``."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    read, write = os.pipe()
    copier = threading.Thread(target=_copy, args=(read, kept[0], path), daemon=True)
    copier.start()
    os.dup2(write, 1)
    os.dup2(write, 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.write(write, END)
        copier.join()
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
        for descriptor in (*kept, read, write):
            os.close(descriptor)


def _copy(read: int, terminal: int, path: Path) -> None:
    line = b""
    with path.open("ab") as log:
        while chunk := os.read(read, 65536):
            text = chunk.removesuffix(END)
            os.write(terminal, text)
            *whole, line = (line + text).split(b"\n")
            for state in whole:
                log.write(state.rstrip(b"\r").rsplit(b"\r", 1)[-1] + b"\n")
            log.flush()
            if chunk.endswith(END):
                return
