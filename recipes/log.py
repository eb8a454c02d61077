"""run.log: what a run and the processes it starts print, without the progress bars' many states."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
    os.close(write)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
        copier.join(5)  # a fork server that lives on holds the pipe open
        os.close(kept[1])


def _copy(read: int, terminal: int, path: Path) -> None:
    line = b""
    with path.open("ab") as log:
        while chunk := os.read(read, 65536):
            os.write(terminal, chunk)
            *whole, line = (line + chunk).split(b"\n")
            for text in whole:
                log.write(text.rstrip(b"\r").rsplit(b"\r", 1)[-1] + b"\n")
            log.flush()
