"""One module a source; a source is added by adding its file here.

Each module has ``SPLITS``, ``check(split, folder=None) -> None``, which raises MendableError within moments where the
data is not there, and ``rows(split, folder=None) -> Iterator[Example]``, which yields the rows in a fixed order.
``folder`` is where the user keeps the data; sources whose data comes with a package or is drawn do not use it.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from data_prep.example import Example
from mlplora_vlm.errors import MendableError, did_you_mean

SOURCES: tuple[str, ...] = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


class Source(Protocol):
    """What each module of this folder offers."""

    SPLITS: tuple[str, ...]

    def check(self, split: str, folder: Path | None = None) -> None: ...

    def rows(self, split: str, folder: Path | None = None) -> Iterator[Example]: ...


def open_source(name: str) -> Source:
    """The source's module, imported when asked for; raises MendableError for an unknown name."""
    if name not in SOURCES:
        raise MendableError(
            f"no source named {name!r}{did_you_mean(name, SOURCES)}",
            "data_prep/sources/",
            f"one of: {', '.join(SOURCES)}; or add data_prep/sources/{name}.py",
        )
    return cast(Source, import_module(f"{__name__}.{name}"))


def known_split(source: str, split: str, splits: tuple[str, ...]) -> None:
    """Raises MendableError unless ``split`` is one of the source's."""
    if split not in splits:
        raise MendableError(
            f"{source} has no split {split!r}{did_you_mean(split, splits)}", source, f"one of: {', '.join(splits)}"
        )
