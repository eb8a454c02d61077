"""A data set's files as its authors hand them out: which are missing, and the rows of its JSON files, one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.nesting import Shallow
from data_prep.records import Record, records
from data_prep.rows import RowError
from mlplora_vlm.errors import MendableError, MendableErrors


@dataclass(frozen=True)
class Official:
    """A data set's name and the page its files come from, as its messages give them."""

    name: str
    page: str

    def given(self, folder: Path | None) -> Path:
        """The user's folder; raises MendableError where none is given."""
        if folder is None:
            raise MendableError(
                f"{self.name} needs a folder",
                "data.folder or eval.folder",
                f"name the one with the official files ({self.page})",
            )
        return Path(folder)

    def present(self, wanted: Iterable[tuple[Path, str]]) -> None:
        """Raises MendableErrors with each of the (path, origin) that is missing; opens none of them."""
        missing = [
            MendableError(f"{self.name}'s {path.name} is missing", str(path), f"unpack it there from {origin}")
            for path, origin in wanted
            if not path.exists()
        ]
        if missing:
            raise missing[0] if len(missing) == 1 else MendableErrors(missing)

    def rows(self, path: Path, key: str | None = None, called: str = "row") -> Iterator[Record]:
        """The rows of the JSON file's list, or of that under ``key``, in its order; each ``called`` so by its number.

        The file may be larger than memory; fractions are `Decimal`.  Raises MendableError where it holds no rows, and
        where it breaks off.
        """
        import ijson

        items = partial(ijson.items, prefix="item" if key is None else f"{key}.item")
        for number, row in enumerate(self._streamed(path, items)):
            yield f"{path}, {called} {number}", row

    def lines(self, path: Path) -> Iterator[Record]:
        """The rows of the file of JSON lines, in its order; a broken line is a `RowError`.

        Raises MendableError where it holds no rows.
        """
        some = False
        try:
            for where, row in records(path):
                yield where, row
                some = some or not isinstance(row, RowError)
        except (OSError, MendableError) as error:
            raise self.damaged(path, error) from error
        if not some:
            raise self.damaged(path, ValueError("it holds no rows"))

    def entries(self, path: Path, called: str = "question", key: str = "") -> Iterator[Record]:
        """The (key, value) pairs of the JSON file's object, or that under ``key``; each ``called`` so by its own key.

        Otherwise as `rows`.
        """
        import ijson

        for name, value in self._streamed(path, partial(ijson.kvitems, prefix=key)):
            yield f"{path}, {called} {name:.80}", (name, value)

    def damaged(self, path: Path, error: Exception) -> MendableError:
        """The error for a file that is not what its name says."""
        said = " ".join(f"{type(error).__name__}: {error}".split())
        what = f"not an official {self.name} file, or not all of it ({said:.200})"
        return MendableError(what, str(path), f"take it again from {self.page}")

    def _streamed(self, path: Path, read: Callable[[Shallow], Iterator[Any]]) -> Iterator[Any]:
        from ijson import JSONError

        some = False
        try:
            with path.open("rb") as file:
                for row in read(Shallow(file)):
                    yield row
                    some = True
        except (
            OSError,
            ValueError,
            ArithmeticError,
            JSONError,
        ) as error:  # the third: Decimal, of 1e99999999999999999999
            raise self.damaged(path, error) from error
        if not some:
            raise self.damaged(path, ValueError("it holds no rows"))
