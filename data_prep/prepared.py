"""The checked rows on disk: memory-mapped Arrow sets, one a source, with what was rejected beside them."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.check import RowCheck
from data_prep.held_back import drawn, split_rows
from data_prep.mixture import order
from data_prep.record import Record, features, to_record
from data_prep.section import DataSection, SourceSection
from data_prep.sources import check_source, source_rows
from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import digest, read_json, sha256, write_json

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset
    from numpy.typing import NDArray

    from data_prep.held_back import Rows
    from mlplora_vlm.families.processor import FamilyProcessor

REJECTS = "rejects.jsonl"
MANIFEST = "prepared.json"
"""Marks the folder as ours; once all is done, it has every source's number of rows, and every file's size and hash."""
OWN = (MANIFEST, REJECTS, "report.json", "report.html", ".work")
"""What is written in the folder beside the sources' folders; the reports are those of recipes/data.py."""
_OWN = re.compile(rf"\.?({'|'.join(map(re.escape, OWN))})(\.\d+)?")  # with what a killed process was writing
HASHED = 1 << 20  # bytes: larger files are compared by size alone
BATCH = 64  # rows that are checked, and written, at once: with embedded pictures they are all in memory
ROWS_A_PROCESS = 2000  # fewer rows are checked sooner than a further process starts


@dataclass
class Counts:
    """What became of a source's rows; every row that was read is in exactly one of the last three."""

    read: int
    """Rows of the source."""
    unused: int = 0
    """Rows left alone: above the limit, or set aside with a held-back picture."""
    accepted: int = 0
    """Rows that can be used, those that were repaired and those held back among them."""
    rejected: dict[str, int] = field(default_factory=dict)
    """Rows left out, by reason."""

    @property
    def reject_rate(self) -> float:
        """The share of the rows that were wanted."""
        left_out = sum(self.rejected.values())
        return left_out / max(1, left_out + self.accepted)


def prepare(
    settings: DataSection,
    processor: FamilyProcessor,
    folder: Path,
    seed: int = 0,
    held_back: int = 0,
    progress: bool = True,
) -> dict[str, Counts]:
    """Reads and checks every source; leaves ``folder/NAME/`` of each source NAME, ``folder/rejects.jsonl``
    and ``folder/prepared.json``, and removes what it left there before.

    Of ``held_back`` rows the pictures are shown to no training row (see `split_rows`).  A source's ``limit`` is counted
    after that.  Rows stand in their source's order.  Memory does not grow with the set, but for about a KiB a row of
    what Arrow keeps for each batch of rows on disk (benchmarks/README.md, data_throughput).
    Raises MendableError where the folder holds anything else, data is missing, too few rows are left, or more are
    rejected than ``settings.max_reject_rate``; then too the rejects file is there.
    """
    sources = settings.sources()
    for section in sources.values():
        check_source(section)
    work = folder / ".work"
    try:
        _clear(folder)
        write_json(folder / MANIFEST, {})
        work.mkdir()
        with _progress_bars(progress):
            read = {name: _read(name, section, work) for name, section in sources.items()}
            chosen = _chosen(read, sources, seed, held_back)
            check = RowCheck(processor, settings)
            counts = {name: _checked(name, read[name], *chosen[name], check, settings, folder) for name in sources}
        shutil.rmtree(work)
        _refuse_too_many(counts, settings, folder)
        _write_manifest(folder, counts)
    except OSError as error:
        what = f"the rows cannot be prepared ({error!s:.200})"
        raise MendableError(what, str(folder), "make room there, or see who may read and write") from error
    return counts


def _clear(folder: Path) -> None:
    """Remove what an earlier `prepare` left; raise MendableError, and remove nothing, where anything else is there."""
    found = sorted(folder.iterdir()) if folder.is_dir() else [folder] if os.path.lexists(folder) else []
    ours = (folder / MANIFEST).is_file()
    if foreign := [path.name for path in found if not (ours and (_OWN.fullmatch(path.name) or _is_part(path)))]:
        some = ", ".join(foreign[:4]) + ", …" * (len(foreign) > 4)
        what = f"expected a new folder or an earlier prepared set, got one with {some}"
        raise MendableError(what, str(folder), "choose another output folder, or move that away; nothing was removed")
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _is_part(path: Path) -> bool:
    """Whether it is a folder of nothing but the files that `datasets` writes for a set."""
    names = ("state.json", "dataset_info.json")
    return (
        path.is_dir()
        and not path.is_symlink()
        and all(each.is_file() and (each.suffix == ".arrow" or each.name in names) for each in path.iterdir())
    )


def _write_manifest(folder: Path, counts: dict[str, Counts]) -> None:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MANIFEST]
    whole = {path.relative_to(folder).as_posix(): _size_and_hash(path) for path in files}
    write_json(folder / MANIFEST, {"rows": {name: count.accepted for name, count in counts.items()}, "files": whole})


def _size_and_hash(path: Path) -> list[Any]:
    size = path.stat().st_size
    return [size, sha256(path) if size <= HASHED else None]


def load_prepared(settings: DataSection, folder: Path, seed: int = 0) -> tuple[Dataset, Dataset]:
    """(training records of one pass over the mixture, held-back records) of the sets that `prepare` left."""
    import numpy as np
    from datasets import concatenate_datasets

    parts = prepared_parts(settings, folder)
    training, aside = [
        concatenate_datasets([part.select(np.flatnonzero(_held_back(part) == kept)) for part in parts.values()])
        for kept in (False, True)
    ]
    return training.select(pass_order(settings, parts, seed)), aside


def pass_order(settings: DataSection, parts: dict[str, Dataset], seed: int = 0) -> NDArray[np.int64]:
    """One pass over the mixture: numbers of training rows of all parts, one part after the other."""
    sizes = {name: int((~_held_back(part)).sum()) for name, part in parts.items()}
    return order(sizes, settings.sources(), seed)


def _held_back(part: Dataset) -> NDArray[np.bool_]:
    return part.data.column("held_back").to_numpy()


def prepared_parts(settings: DataSection, folder: Path) -> dict[str, Dataset]:
    """Each source's accepted rows, those held back among them.

    Raises MendableError where the set is not there, not finished, or no longer what `prepare` wrote.
    """
    from datasets import load_from_disk

    rows = _checked_manifest(folder)
    parts = {}
    for name in settings.sources():
        try:
            parts[name] = load_from_disk(str(folder / name))
            columns, count = parts[name].features, len(parts[name])
        except Exception as error:  # `datasets` and pyarrow raise what they like for files of another version
            raise _damaged(folder / name, f"{type(error).__name__}: {error!s:.200}") from error
        if columns != features() or count != rows.get(name):
            raise _damaged(folder / name, f"{count} rows of columns {', '.join(columns)}")
    return parts


def _checked_manifest(folder: Path) -> dict[str, int]:
    """Each source's number of rows; raises MendableError where a file is not as the manifest has it."""
    path = folder / MANIFEST
    try:
        manifest = read_json(path, dict)
        rows, files = dict(manifest["rows"]), dict(manifest["files"])
        expected = [REJECTS, *(f"{name}/state.json" for name in rows)]
        changed = [name for name in (*expected, *files) if _size_and_hash(folder / name) != files[name]]
    except MendableError as error:
        raise _damaged(path, error.what) from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error!s:.200}") from error
    if changed:
        raise _damaged(folder / changed[0], "it is no longer the file that was written")
    return rows


def _damaged(path: Path, why: str) -> MendableError:
    return MendableError(f"the prepared set cannot be used ({why})", str(path), "run again with --from prepare")


def rejects(folder: Path) -> Iterator[dict[str, str]]:
    """The rejected rows: ``source``, ``where``, ``reason``, ``detail``."""
    try:
        with (folder / REJECTS).open(encoding="utf-8") as file:
            for line in file:
                yield dict(json.loads(line))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise _damaged(folder / REJECTS, f"{type(error).__name__}: {error!s:.100}") from error


def _read(name: str, section: SourceSection, work: Path) -> Dataset:
    """The source's rows as they come, written to disk."""
    from datasets import Dataset
    from datasets.exceptions import DatasetGenerationError

    some = False

    def records() -> Iterator[Record]:
        nonlocal some
        rows = source_rows(section)
        for row in islice(rows, section.limit) if section.streaming and section.limit else rows:
            some = True
            yield to_record(row, name)

    fingerprint = digest([name, asdict(section)])[:16]
    options = {"features": features(), "cache_dir": str(work), "fingerprint": fingerprint, "writer_batch_size": BATCH}
    try:
        return Dataset.from_generator(records, **options)
    except DatasetGenerationError as error:  # around what ended the source
        raise error.__cause__ or error from None
    except ValueError:
        if some:
            raise
        where = f"source {name!r}, split {section.split!r}"
        raise MendableError("the source has no rows", where, "see its files") from None


def _chosen(
    read: dict[str, Dataset], sources: dict[str, SourceSection], seed: int, held_back: int
) -> dict[str, tuple[Rows, Rows]]:
    """By source, the numbers of its rows to train on and to hold back."""
    import numpy as np

    usable = {name: np.flatnonzero(rows.data.column("reason").is_null().to_numpy()) for name, rows in read.items()}
    if held_back:
        split = dict(_split(read, usable, held_back, seed))
    else:  # nobody's pictures are asked for
        split = {name: (numbers, numbers[:0]) for name, numbers in usable.items()}
    for name, (training, _) in split.items():
        limit, left = sources[name].limit, len(usable[name])
        if (left and not len(training)) or len(training) < limit:
            raise MendableError(
                f"{len(training)} training rows are left of {len(read[name])} ({held_back} held back, "
                f"{len(read[name]) - left} unusable), not {limit or 1} or more",
                f"source {name!r}, split {sources[name].split!r}",
                "lower data.limit" if limit else "lower train.eval_rows",
            )
    return {name: (drawn(training, sources[name].limit, seed), aside) for name, (training, aside) in split.items()}


def _split(
    read: dict[str, Dataset], usable: dict[str, Rows], held_back: int, seed: int
) -> Iterator[tuple[str, tuple[Rows, Rows]]]:
    """Each source's usable rows, parted so that no picture of a held-back row is trained on in any source."""
    import numpy as np
    import pyarrow as pa

    shown = [rows.data.column("digests").take(pa.array(usable[name])) for name, rows in read.items()]
    pictures = pa.chunked_array([chunk for column in shown for chunk in column.chunks], shown[0].type)
    parts = split_rows(pictures, held_back, seed)  # numbers over all usable rows, one source after the other
    del shown, pictures
    pa.default_memory_pool().release_unused()  # before it is forked into the processes that check
    ends = np.cumsum([len(numbers) for numbers in usable.values()])
    for (name, numbers), end in zip(usable.items(), ends.tolist(), strict=True):
        begin = end - len(numbers)
        training, aside = (numbers[part[(begin <= part) & (part < end)] - begin] for part in parts)
        yield name, (training, aside)


def _checked(
    name: str,
    read: Dataset,
    training: Rows,
    aside: Rows,
    check: RowCheck,
    settings: DataSection,
    folder: Path,
) -> Counts:
    """Checks the chosen rows, saves those that can be used, and appends the rejected ones to the rejects file."""
    import numpy as np

    wanted = np.sort(np.concatenate([training, aside]))
    processes = min(settings.workers or len(os.sched_getaffinity(0)), max(1, len(wanted) // ROWS_A_PROCESS))
    checked = read.select(wanted).map(
        _Marked(check, np.isin(wanted, aside)),
        with_indices=True,
        batched=True,
        batch_size=BATCH,
        writer_batch_size=BATCH,
        features=features(),
        num_proc=processes if processes > 1 else None,
        cache_file_name=str(folder / ".work" / f"checked-{name}.arrow"),
        load_from_cache_file=False,
        new_fingerprint=digest(["checked", name])[:16],
        desc=f"checking {name}",
    )
    usable = checked.data.column("reason").is_null().to_numpy()
    unreadable = np.flatnonzero(read.data.column("reason").is_valid().to_numpy())
    rejected: Counter[str] = Counter()
    with (folder / REJECTS).open("a", encoding="utf-8") as file:
        for rows in (read.select(unreadable), checked.select(np.flatnonzero(~usable))):
            for row in rows.select_columns(["source", "where", "reason", "detail"]):
                rejected[row["reason"]] += 1
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    checked.select(np.flatnonzero(usable)).save_to_disk(str(folder / name))
    accepted = int(usable.sum())
    unused = len(read) - accepted - rejected.total()
    return Counts(len(read), unused, accepted, dict(rejected.most_common()))


class _Marked:
    """The check, which also marks the rows that are held back."""

    def __init__(self, check: RowCheck, held_back: NDArray[np.bool_]) -> None:
        self.check, self.held_back = check, held_back

    def __call__(self, batch: dict[str, list[Any]], numbers: list[int]) -> dict[str, list[Any]]:
        return self.check(batch | {"held_back": self.held_back[numbers].tolist()})


def _refuse_too_many(counts: dict[str, Counts], settings: DataSection, folder: Path) -> None:
    for name, count in counts.items():
        if count.accepted and count.reject_rate <= settings.max_reject_rate:
            continue
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in count.rejected.items()) or "it has none"
        what = f"{count.reject_rate:.1%} of the rows of source {name!r} are left out: {reasons}"
        fix = f"each stands in the file with its reason; data.max_reject_rate ({settings.max_reject_rate}) allows more"
        raise MendableError(what, str(folder / REJECTS), fix)


@contextmanager
def _progress_bars(shown: bool) -> Iterator[None]:
    """`datasets` writes its bars only where they are wanted."""
    from datasets import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    before = are_progress_bars_disabled()
    if not shown:
        disable_progress_bars()
    try:
        yield
    finally:
        if not before:
            enable_progress_bars()
