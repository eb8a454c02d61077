"""What the tests of the official sources share: rows told apart, and pictures that nobody may reach."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from data_prep.example import Example
from data_prep.rows import Rejected, Row


def told(rows: Iterable[Row]) -> tuple[list[Example], list[Rejected]]:
    """(the accepted rows, the rejected ones), each in their order."""
    found = list(rows)
    return [row for row in found if isinstance(row, Example)], [row for row in found if isinstance(row, Rejected)]


def one_left_out(rows: Iterable[Row], total: int) -> tuple[list[Example], Rejected]:
    """(the accepted rows, the only rejected one) of ``total`` rows."""
    accepted, rejected = told(rows)
    assert len(accepted) + len(rejected) == total
    [only] = rejected
    return accepted, only


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def write_pictures(folder: Path, *names: str) -> None:
    """Files of these names, and two links in the folder to a ``secret.jpg`` beside it."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"not opened here")
    secret = folder.parent / "secret.jpg"
    secret.write_bytes(b"not to be opened")
    for name in ("linked.jpg", "linked.png"):
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(secret)


def without(record: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != key}
