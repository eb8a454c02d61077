"""One module a source; a source is added by adding its file here.

Each module has ``SPLITS`` (empty: whatever the user's files are called), ``check(split, folder=None, **options)``,
which raises MendableError within moments where the data is not there, and ``rows(split, folder=None, **options)``,
which yields every row in a fixed order, as an `Example` or a `Rejected`.  ``folder`` is where the user keeps the data;
sources whose data comes with a package or is drawn do not use it.  The options that a source takes are its keyword
parameters; they are the keys of that name in `SourceSection`.  A source of a user's own files also has
``recognise(sample)``, which says how well they fit it (`data_prep.sniff`).
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any, Protocol, cast

from data_prep.rows import Row
from data_prep.section import SourceSection
from mlplora_vlm.errors import MendableError, did_you_mean

SOURCES: tuple[str, ...] = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


class Source(Protocol):
    """What each module of this folder offers."""

    SPLITS: tuple[str, ...]

    def check(self, split: str, folder: Path | None = None, **options: Any) -> None: ...

    def rows(self, split: str, folder: Path | None = None, **options: Any) -> Iterator[Row]: ...


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


OPTIONS = ("file", "pictures", "columns", "repo", "config", "streaming", "urls")
"""Keys of `SourceSection` that some sources take."""


def misplaced_options(settings: SourceSection) -> Iterator[tuple[str, str, str]]:
    """(key, what is wrong, how to mend) for each option that is set and that the source does not take."""
    taken = signature(open_source(settings.source).rows).parameters
    own = [name for name in OPTIONS if name in taken]
    for key in OPTIONS:
        if getattr(settings, key) and key not in taken:
            fix = f"it takes {', '.join(own)}" if own else "leave it out: it takes none of these keys"
            yield key, f"the source {settings.source} has no {key}", fix


def _options(settings: SourceSection) -> dict[str, Any]:
    """The options that are set; raises MendableError for one that the source does not take."""
    for key, what, fix in misplaced_options(settings):
        raise MendableError(what, f"data.{key}", fix)
    given = {key: value for key in OPTIONS if (value := getattr(settings, key))}
    return given | ({"pictures": expanded(settings.pictures)} if settings.pictures else {})


def check_source(settings: SourceSection) -> None:
    """Raises MendableError within moments where the section's data is not there."""
    with _readable(settings):
        open_source(settings.source).check(settings.split, _folder(settings), **_options(settings))


def source_rows(settings: SourceSection) -> Iterator[Row]:
    """The section's rows, all of them, in the source's order; raises as `check_source` does."""
    with _readable(settings):
        yield from open_source(settings.source).rows(settings.split, _folder(settings), **_options(settings))


@contextmanager
def _readable(settings: SourceSection) -> Iterator[None]:
    """Turn what the operating system says of a file or folder into a MendableError."""
    try:
        yield
    except OSError as error:
        where = str(error.filename or settings.folder or settings.source)
        what = f"the data of the source {settings.source} cannot be read ({error.strerror or error})"
        raise MendableError(what, where, "see who may read it, and whether its disk is there") from error


def _folder(settings: SourceSection) -> Path | None:
    return expanded(settings.folder) if settings.folder else None


def expanded(path: str | Path) -> Path:
    """The path with its ``~`` resolved; as it is where there is no such user, so that it is found missing."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)
