"""The one exception a user sees: what is wrong, where, and how to mend it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches

SEEDS = 2**32
"""Seeds are below this number: numpy takes no others."""


class MendableError(Exception):
    """A mistake the user can mend; the command line prints it without a traceback and exits with 2.

    ``what`` is one sentence, ``where`` a ``file:line key``, a path or a key, ``fix`` what to do about it.
    """

    def __init__(self, what: str, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__(str(self))

    def __reduce__(self) -> tuple[type[MendableError], tuple[str, str, str]]:
        """What another process raised says the same here."""
        return MendableError, (self.what, self.where, self.fix)

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  at:  {self.where}")
        if self.fix:
            lines.append(f"  fix: {self.fix}")
        return "\n".join(lines)


class MendableErrors(MendableError):
    """Several mistakes, found together and shown together."""

    def __init__(self, errors: Iterable[MendableError]) -> None:
        self.errors = list(errors)
        super().__init__("\n".join(str(error) for error in self.errors))


@contextmanager
def library_errors(what: str, where: str, fix: str) -> Iterator[None]:
    """Raise any error of a library inside the block as a `MendableError`: ``what`` and the library's own reason."""
    try:
        yield
    except MendableError:
        raise
    except Exception as error:
        raise MendableError(f"{what}: {reason(error)}", where, fix) from error


def reason(error: BaseException, length: int = 300) -> str:
    """The error's text on one line, cut to ``length``, after its type where the text alone says little."""
    text = " ".join(str(error).split())
    if not text or isinstance(error, LookupError | AttributeError | TypeError):
        text = f"{type(error).__name__}: {text}".rstrip(": ")
    return text if len(text) <= length else f"{text[:length]} …"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the nearest known name, or an empty string where none is near."""
    near = get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def seed_problems(seed: int) -> Iterator[tuple[str, str, str]]:
    """(key, what is wrong, how to fix it) for a seed that a library would refuse once it is used."""
    if not 0 <= seed < SEEDS:
        yield "seed", f"expected a seed from 0 to {SEEDS - 1}, got {seed}", "0 is usual"
