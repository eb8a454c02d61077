"""A data set of the hub by its name, or a folder that is laid out like one, opened by `datasets`.

``repo`` is its name (``owner/name``) or the folder, ``config`` one of its configurations, and the split one of its own.
Rows with named columns are read as a table's (data_prep/columns.py), conversations as their formats are
(data_prep/arrow_rows.py); pictures are what the rows hold, or files of the set.  With ``streaming`` rows are read as
they arrive; otherwise the split is downloaded whole, once, into the cache of `datasets`.  No code of a set is ever run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from data_prep.arrow_records import BATCH, arrow_records
from data_prep.arrow_rows import arrow_rows, check_columns
from data_prep.columns import pictures_in
from data_prep.confined import Pictures
from data_prep.references import References
from data_prep.rows import Row, RowError
from data_prep.sources import expanded, known_split
from mlplora_vlm.errors import MendableError

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset, DatasetInfo, IterableDataset

SPLITS: tuple[str, ...] = ()
SECONDS = 10.0  # for the hub to answer whether it has the set


def check(
    split: str,
    folder: Path | None = None,
    repo: str | None = None,
    config: str | None = None,
    streaming: bool = False,
    pictures: Path | None = None,
    columns: Mapping[str, str] | None = None,
    urls: bool = False,
) -> None:
    """Asks the hub whether it has the set, its configuration and its split, with the columns where it knows them.

    Raises MendableErrors where it does not, or cannot be reached; no row is downloaded.
    """
    known = _info(_given(repo), config)
    known_split(f"hub: {repo}", split, tuple(known.splits or ()))
    if known.features:
        check_columns(columns, list(known.features), f"hub: {repo}")
    _pictures(_given(repo), folder, pictures, urls)


def rows(
    split: str,
    folder: Path | None = None,
    repo: str | None = None,
    config: str | None = None,
    streaming: bool = False,
    pictures: Path | None = None,
    columns: Mapping[str, str] | None = None,
    urls: bool = False,
) -> Iterator[Row]:
    """The split's rows in the set's order; files that they name are looked for in ``folder/pictures``.

    Raises MendableErrors as `check` does, and at the place where the set is damaged or the line breaks.
    """
    check(split, folder, repo, config, streaming, pictures, columns, urls)
    repo = _given(repo)
    dataset = _opened(repo, config, split, streaming)
    records = arrow_records(_tables(dataset, repo), dataset.features, f"{repo}, {split}")
    shown = _pictures(repo, folder, pictures, urls)
    yield from arrow_rows(f"hub/{repo}/{split}", records, columns, shown, f"hub: {repo}")


class _Pictures:
    """Files that the set holds, also where `datasets` has put them, or that lie in the user's folder; no others."""

    def __init__(self, repo: str, files: References | None) -> None:
        import datasets
        from huggingface_hub import constants

        home = str(Path(repo).resolve()) if Path(repo).is_dir() else f"hf://datasets/{repo}@"
        self._streamed = re.compile(rf"(zip://[^:]*::)?{re.escape(home)}.*", re.DOTALL)
        cached = Path(constants.HF_HUB_CACHE) / f"datasets--{repo.replace('/', '--')}"
        self._kept = [Pictures(place) for place in (cached, Path(datasets.config.EXTRACTED_DATASETS_PATH))]
        self._files = files

    def __call__(self, name: str, where: str) -> Path | bytes:
        """The picture's path or its encoded bytes; raises RowError, naming ``where``."""
        if "::" in name or name.startswith("hf://"):
            return self._read(name, where)
        if kept := next((kept for kept in self._kept if Path(name).is_relative_to(kept.folder)), None):
            return kept(name, where)
        if self._files is None:
            what = f"the row names the file {name:.200}: say where it is with `folder`"
            raise RowError("missing picture", what, where)
        return self._files(name, where)

    def _read(self, name: str, where: str) -> bytes:
        import fsspec

        if not self._streamed.fullmatch(name) or ".." in PurePath(name).parts:
            raise RowError("picture outside its folder", f"the picture {name!r:.200} is none of the set's", where)
        try:
            with fsspec.open(name, "rb") as file:
                return bytes(file.read())
        except (OSError, KeyError) as error:
            raise RowError("missing picture", f"{name:.200} cannot be read: {error!s:.100}", where) from error


def _given(repo: str | None) -> str:
    if not repo:
        raise MendableError("the source needs the name of a data set", "data.repo", "such as owner/name, or a folder")
    folder = expanded(repo)
    return str(folder) if folder.is_dir() else repo


def _pictures(repo: str, folder: Path | None, pictures: Path | None, urls: bool) -> _Pictures:
    base = folder or (Path(repo).resolve() if Path(repo).is_dir() else None)
    if base is None and (pictures or urls):
        base = Path()
    return _Pictures(repo, pictures_in(base, pictures, urls) if base else None)


def _info(repo: str, config: str | None) -> DatasetInfo:
    from datasets import get_dataset_config_info
    from huggingface_hub import HfApi, constants

    try:
        if not Path(repo).is_dir() and not constants.HF_HUB_OFFLINE:
            HfApi().dataset_info(repo, timeout=SECONDS)  # `datasets` would try for much longer
        return get_dataset_config_info(repo, config)
    except Exception as error:
        raise _mendable(repo, error) from error


def _opened(repo: str, config: str | None, split: str, streaming: bool) -> Dataset | IterableDataset:
    from datasets import load_dataset

    try:
        return load_dataset(repo, config, split=split, streaming=streaming)
    except Exception as error:
        raise _mendable(repo, error) from error


def _tables(dataset: Dataset | IterableDataset, repo: str) -> Iterator[pa.Table]:
    try:
        yield from dataset.with_format("arrow").iter(BATCH)  # as Arrow: no picture is decoded
    except Exception as error:
        raise _mendable(repo, error) from error


def _mendable(repo: str, error: Exception) -> MendableError:
    """What `datasets` and `huggingface_hub` say in some twenty classes of errors, as one that says what to do."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
    from huggingface_hub.utils import httpx

    where, words = f"hub: {repo}", f"{error!s:.400}".strip()
    if isinstance(error, GatedRepoError) or "gated" in words:
        fix = f"ask for access at https://huggingface.co/datasets/{repo}, then run: hf auth login"
        return MendableError("the data set is shown only to those who asked", where, fix)
    if isinstance(error, RepositoryNotFoundError) or "doesn't exist on the Hub" in words:
        return MendableError(
            "the hub has no such data set, or hides it", where, "check data.repo, or run: hf auth login"
        )
    if "scripts are no longer supported" in words:
        what = "the data set is a Python script that fetches it: such code is not run"
        fix = "look for a copy of it in parquet, or fetch its files and read them as table, parquet or image_folder"
        return MendableError(what, where, fix)
    if isinstance(error, (ConnectionError, httpx.TransportError)):
        fix = "connect this machine, name a folder as data.repo, or set HF_HUB_OFFLINE=1 if the set is in the cache"
        return MendableError(f"the hub cannot be reached ({type(error).__name__})", where, fix)
    if isinstance(error, ValueError) and "onfig" in words:
        return MendableError(words.partition("\nExample")[0], where, "see data.config")
    cause = f"; {error.__cause__!s:.200}" if error.__cause__ else ""
    return MendableError(f"`datasets` cannot read it ({type(error).__name__}: {words}{cause})", where, "see its page")
