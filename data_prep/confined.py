"""Picture files by the names that rows give, none of which leads out of its folder."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

from data_prep.rows import RowError


class Pictures:
    """The picture files under one folder, by the name that a row gives; none that lies outside is ever handed out.

    ``missing`` says how to mend a picture that is not there.
    """

    def __init__(self, folder: Path, missing: str = "") -> None:
        self.folder, self.missing = folder, missing
        self._inside: dict[Path, bool] = {}  # of each folder: to resolve every file would take longer than reading rows

    def __call__(self, name: str, where: str) -> Path:
        """The file's path; raises RowError for a name that leads out, also through a link, and for no file."""
        if not name or "\0" in name or any("\ud800" <= sign <= "\udfff" for sign in name):
            raise RowError("missing picture", f"{name!r:.80} names no file", where)
        path = self.folder / name
        absolute = PurePath(name).is_absolute()
        if ".." in PurePath(name).parts or (absolute and not path.is_relative_to(self.folder)):
            raise self._leads_out(name, where)
        if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file() raises for a name that is too long
            raise RowError(
                "missing picture", f"there is no {path!s:.300}{f': {self.missing}' * bool(self.missing)}", where
            )
        if path.parent not in self._inside:
            self._inside[path.parent] = self._is_inside(path.parent)
        if not self._inside[path.parent] or (path.is_symlink() and not self._is_inside(path)):
            raise self._leads_out(name, where)
        return path

    def _is_inside(self, path: Path) -> bool:
        return path.resolve().is_relative_to(self.folder.resolve())

    def _leads_out(self, name: str, where: str) -> RowError:
        what = f"the picture {name!r:.200} lies outside {self.folder}: a row may name no other file"
        return RowError("picture outside its folder", what, where)
