"""Rows as a prepared set has them, made by hand, and the figures of such sets."""

from __future__ import annotations

import json

from datasets import Dataset

from data_prep.prepared import Counts
from data_prep.record import features
from data_prep.statistics import statistics


def record(text=10, pictures=((640, 480),), labels=2, repairs=(), held_back=False, where="rows.json, row 0", data=b"x"):
    tokens = 16 * len(pictures)
    images = [{"path": None, "bytes": data, "size": list(size), "shrunk": None} for size in pictures]
    return dict.fromkeys(features()) | {
        "id": "row",
        "where": where,
        "turns": [{"question": "q", "answer": "a"}],
        "images": images,
        "digests": ["d"] * len(images),
        "repairs": list(repairs),
        "length": text + tokens,
        "text_tokens": text,
        "picture_tokens": tokens,
        "label_tokens": labels,
        "held_back": held_back,
    }


def part(*records):
    return Dataset.from_list(list(records), features=features())


def counted(rows, **rejected):
    return Counts(rows + sum(rejected.values()), 0, rows, rejected)


def found(parts, order=None, batch_size=4, accumulation=1, processes=1, seed=0, counts=None):
    counts = counts or {name: counted(len(rows)) for name, rows in parts.items()}
    result = statistics(parts, counts, order, batch_size, accumulation, processes, seed)
    json.dumps(result, allow_nan=False)
    return result
