"""What a prepared set holds, in numbers: rows, tokens, pictures, padding, steps; computed on Arrow columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from data_prep.check import SHOWN

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset
    from numpy.typing import NDArray

    from data_prep.prepared import Counts

TOKENS = {"whole": "length", "text": "text_tokens", "pictures": "picture_tokens", "labels": "label_tokens"}
"""What is counted of a row's tokens, and the column that has it."""
CHUNK = 1024  # rows looked at together
BINS = 32  # of a histogram, at most about as many
EXAMPLES = 3  # of each kind of repair


def statistics(
    parts: Mapping[str, Dataset],
    counts: Mapping[str, Counts],
    order: Sequence[int] | NDArray[np.int64] | None,
    batch_size: int,
    accumulation: int,
    processes: int,
    seed: int = 0,
) -> dict[str, Any]:
    """The figures of report.json; of each row only a few numbers are ever in memory.

    ``parts`` are the accepted rows by source, those held back among them; ``order`` is one pass over the mixture:
    numbers of rows of all parts one after the other without those held back (None: each once).  ``batch_size`` is that
    of one of the ``processes``, and ``accumulation`` how many batches each takes for a step.
    """
    found = {name: _read(part) for name, part in parts.items()}
    sizes = [one.training.size for one in found.values()]
    columns = {name: _joined([one.tokens[column] for one in found.values()]) for name, column in TOKENS.items()}
    rows = np.arange(sum(sizes)) if order is None else np.asarray(order, dtype=np.int64)
    seen = {name: column[rows] for name, column in columns.items()}
    steps = ceil(ceil(len(rows) / (batch_size * processes)) / accumulation)
    return {
        "sources": {name: _source(one, counts[name]) for name, one in found.items()},
        "repairs": _repairs(found.values()),
        "tokens": {name: _distribution(column) for name, column in columns.items()},
        "pictures": {
            "a_row": _distribution(_joined([one.pictures for one in found.values()])),
            "sizes": _sizes(sum((one.sizes for one in found.values()), Counter())),
        },
        "too_long": {
            "cut": 0,  # nothing ever is
            "dropped": sum(one.rejected.get("too long", 0) for one in counts.values()),
            "shrunk": sum(one.repairs[SHOWN] for one in found.values()),
        },
        "mixture": _mixture(list(found), sizes, rows, seen["whole"]),
        "epoch": {
            "samples": len(rows),
            "steps": steps,
            "rows_a_step": batch_size * processes * accumulation,
            "tokens": {name: int(column.sum()) for name, column in seen.items()},
            "label_share": _share(seen["labels"].sum(), seen["whole"].sum()),
        },
        "padding": _padding(seen["whole"], batch_size, batch_size * processes * accumulation, seed),
    }


@dataclass
class _Part:
    """What is kept of one source's accepted rows."""

    rows: int = 0
    repaired: int = 0
    repairs: Counter[str] = field(default_factory=Counter)
    places: dict[str, list[str]] = field(default_factory=dict)
    """Of each repair, where a few of its rows stand."""
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    """(width, height) of the training rows' pictures as their files have them."""
    training: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """The numbers of the rows that are not held back; of these are the two below."""
    pictures: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    tokens: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    def note(self, where: str, repairs: Iterable[str]) -> None:
        """Counts a repaired row."""
        self.repaired += 1
        for repair in set(repairs):
            self.repairs[repair] += 1
            if len(places := self.places.setdefault(repair, [])) < EXAMPLES:
                places.append(where)


def _read(part: Dataset) -> _Part:
    """One pass over the set; what lies memory-mapped on disk, such as embedded pictures, is not read."""
    import pyarrow.compute as pc

    columns = ["where", "repairs", "held_back", "images", *TOKENS.values()]
    found = _Part()
    taken: dict[str, list[NDArray[np.int64]]] = {name: [] for name in (*TOKENS.values(), "pictures", "training")}
    for table in part.select_columns(columns).with_format("arrow").iter(CHUNK):
        kept = ~table.column("held_back").to_numpy()
        pictures = pc.list_value_length(table.column("images")).to_numpy()
        taken["training"].append(found.rows + np.flatnonzero(kept))
        taken["pictures"].append(pictures[kept].astype(np.int64))
        for name in TOKENS.values():
            taken[name].append(table.column(name).to_numpy()[kept].astype(np.int64))
        sizes = _sides(table.column("images"))[np.repeat(kept, pictures)]
        for (width, height), number in zip(*np.unique(sizes, axis=0, return_counts=True), strict=True):
            found.sizes[int(width), int(height)] += int(number)
        mended = table.select(["where", "repairs"]).filter(pc.greater(pc.list_value_length(table.column("repairs")), 0))
        for row in mended.to_pylist():
            found.note(row["where"], row["repairs"])
        found.rows += len(table)
    found.pictures, found.training = _joined(taken.pop("pictures")), _joined(taken.pop("training"))
    found.tokens = {name: _joined(arrays) for name, arrays in taken.items()}
    return found


def _sides(images: pa.ChunkedArray) -> NDArray[np.int32]:
    """(pictures, 2) of all rows, one after the other; chunk by chunk, since to join chunks would copy the pictures."""
    chunks = [chunk.flatten().field("size").flatten().to_numpy().reshape(-1, 2) for chunk in images.chunks]
    return np.concatenate([np.empty((0, 2), np.int32), *chunks])


def _joined(arrays: Iterable[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate([np.empty(0, np.int64), *arrays])


def _source(found: _Part, counts: Counts) -> dict[str, Any]:
    return {
        "read": counts.read,
        "unused": counts.unused,
        "accepted": counts.accepted,
        "repaired": found.repaired,
        "held_back": found.rows - len(found.training),
        "rejected": dict(sorted(counts.rejected.items(), key=lambda item: (-item[1], item[0]))),
        "reject_rate": counts.reject_rate,
    }


def _repairs(found: Iterable[_Part]) -> list[dict[str, Any]]:
    """Each kind of repair with how many rows had it and where a few stand; the most frequent first."""
    total: Counter[str] = Counter()
    places: dict[str, list[str]] = {}
    for one in found:
        total += one.repairs
        for repair, some in one.places.items():
            places[repair] = [*places.get(repair, []), *some][:EXAMPLES]
    return [{"repair": repair, "rows": rows, "where": places[repair]} for repair, rows in total.most_common()]


def _mixture(
    names: list[str], sizes: list[int], rows: NDArray[np.int64], lengths: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """Of each source its training rows, how many samples a pass takes of it, and their share of samples and tokens."""
    starts = np.cumsum([0, *sizes])
    of_part = np.searchsorted(starts, rows, side="right") - 1
    drawn = np.bincount(of_part, minlength=len(names))
    tokens = np.bincount(of_part, weights=lengths, minlength=len(names))
    return [
        {
            "source": name,
            "rows": size,
            "samples": int(samples),
            "share": _share(samples, len(rows)),
            "token_share": _share(weight, lengths.sum()),
            "times": _share(samples, size),
        }
        for name, size, samples, weight in zip(names, sizes, drawn, tokens, strict=True)
    ]


def _padding(lengths: NDArray[np.int64], batch_size: int, rows_a_step: int, seed: int) -> dict[str, Any]:
    """The share of padding among the tokens of a pass's batches, in random order and grouped as training would."""
    from mlplora_vlm.sampler import LengthGroupedSampler

    if not len(lengths):
        return {"batch_size": batch_size, "random": 0.0, "grouped": 0.0}
    grouped = list(LengthGroupedSampler(lengths.tolist(), rows_a_step, seed))
    shuffled = np.random.default_rng(seed).permutation(lengths)
    return {
        "batch_size": batch_size,
        "random": padding_share(shuffled, batch_size),
        "grouped": padding_share(lengths[grouped], batch_size),
    }


def padding_share(lengths: NDArray[np.int64], batch_size: int) -> float:
    """The share of padding among the tokens of batches of this many rows, taken in the given order."""
    rest = -len(lengths) % batch_size
    batches = np.pad(lengths, (0, rest)).reshape(-1, batch_size)
    rows = np.full(len(batches), batch_size)
    rows[-1] -= rest
    padded = int((batches.max(axis=1) * rows).sum())
    return _share(padded - int(lengths.sum()), padded)


def _distribution(values: NDArray[np.int64]) -> dict[str, Any]:
    """Quantiles of whole numbers and their histogram; empty where there are none."""
    if not len(values):
        return {}
    middle, high, higher = np.percentile(values, [50, 95, 99])
    return {
        "n": len(values),
        "min": int(values.min()),
        "median": float(middle),
        "mean": float(values.mean()),
        "p95": float(high),
        "p99": float(higher),
        "max": int(values.max()),
        "histogram": _histogram(values, higher),
    }


def _histogram(values: NDArray[np.int64], p99: float) -> dict[str, Any]:
    """How many values lie in [start, start + width), [start + width, start + 2·width) …; and ``above`` all of them.

    A few values far out do not squeeze all others into one bar.
    """
    low, high = int(values.min()), int(values.max())
    if high > 2 * p99:
        high = ceil(2 * p99)
    width = next(size for size in _round_numbers() if size * BINS > high - low)
    start = low // width * width
    bins = (high - start) // width + 1
    inside = np.bincount(np.minimum((values - start) // width, bins), minlength=bins + 1)
    return {"start": start, "width": width, "counts": inside[:-1].tolist(), "above": int(inside[-1])}


def _round_numbers() -> Iterator[int]:
    """1, 2, 5, 10, 20, 50 …"""
    power = 1
    while True:
        yield from (power, 2 * power, 5 * power)
        power *= 10


def _sizes(sizes: Counter[tuple[int, int]]) -> dict[str, Any]:
    """Width, height and megapixels of the pictures, and the most frequent sizes; empty where there are no pictures."""
    if not sizes:
        return {}
    numbers = np.array(list(sizes.values()))
    sides = np.array(list(sizes))

    def quantiles(values: NDArray[Any]) -> dict[str, float]:
        return dict(zip(("min", "median", "p95", "max"), _weighted(values, numbers, (0, 0.5, 0.95, 1)), strict=True))

    return {
        "pictures": int(numbers.sum()),
        "different": len(sizes),
        "width": quantiles(sides[:, 0]),
        "height": quantiles(sides[:, 1]),
        "megapixels": quantiles(sides.prod(axis=1, dtype=np.int64) / 1e6),
        "frequent": [[width, height, number] for (width, height), number in sizes.most_common(8)],
    }


def _weighted(values: NDArray[Any], numbers: NDArray[np.int64], shares: Sequence[float]) -> list[float]:
    """Of values that occur so many times, the smallest one that this share of all does not exceed."""
    order = np.argsort(values)
    upto = np.cumsum(numbers[order])
    places = np.searchsorted(upto, [max(1, ceil(share * upto[-1])) for share in shares])
    return values[order][places].tolist()


def _share(part: Any, whole: Any) -> float:
    return float(part) / float(whole) if whole else 0.0
