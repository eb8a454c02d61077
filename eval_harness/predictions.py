"""The files that an evaluation leaves, written whole or not at all, and the hashes that allow to reuse them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from data_prep.example import Example
from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import json_text, parse_json, readable, write_text


def rows_of(examples: Sequence[Example], predictions: Sequence[str], scores: Sequence[float]) -> list[dict[str, Any]]:
    """One row an example: id, category, question, references, prediction, score."""
    return [
        {
            "id": example.id,
            "category": example.category,
            "question": example.question,
            "references": list(example.references),
            "prediction": prediction,
            "score": score,
        }
        for example, prediction, score in zip(examples, predictions, scores, strict=True)
    ]


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Writes JSON lines (UTF-8, as they read), in one step."""
    write_text(path, "".join(json_text(row) + "\n" for row in rows))


ROW: dict[str, Any] = {
    "id": str,
    "category": str,
    "question": str,
    "references": list,
    "prediction": str,
    "score": int | float,
}
"""What a row of `rows_of` holds."""


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows of an evaluation; raise `MendableError` with the line of what is not one."""
    with readable(path):  # not splitlines(): it also cuts at signs such as U+2028, which JSON leaves inside its strings
        lines = path.read_bytes().split(b"\n")
    return [_row(line, path, number) for number, line in enumerate(lines, 1) if line]


def _row(line: bytes, path: Path, number: int) -> dict[str, Any]:
    row: dict[str, Any] = parse_json(line, path, dict, number)
    if missing := sorted(ROW.keys() - row.keys()):
        raise _broken(f"line {number} lacks {', '.join(missing)}", path, number)
    for key, kind in ROW.items():
        if not isinstance(row[key], kind) or isinstance(row[key], bool):
            raise _broken(f"line {number} has a {key} that is {row[key]!r:.80}", path, number)
    if not all(isinstance(reference, str) for reference in row["references"]):
        raise _broken(f"line {number} has references that are no texts", path, number)
    return row


def _broken(what: str, path: Path, number: int) -> MendableError:
    fix = "evaluate again into this folder"
    return MendableError(f"{path.name} cannot be used: {what}", f"{path}:{number}", fix)


def model_digest(model: Any) -> str:
    """Hash a model's weights, buffers and quantization constants: the sum of all bytes and 64 elements of each tensor.

    Sums of integers are the same on any device and any number of threads.
    """
    import torch

    found = hashlib.sha256()
    with torch.no_grad():
        for name, tensor in sorted((model.state_dict() | dict(model.named_buffers())).items()):
            flat = tensor.detach().reshape(-1)
            some = flat[:: max(1, flat.numel() // 64)].to("cpu")
            found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} {_sum_of_bytes(flat)}".encode())
            found.update((some.double() if some.is_floating_point() else some).numpy().tobytes())
    return found.hexdigest()


def _sum_of_bytes(flat: Any) -> int:
    """The sum of the tensor's memory as 64-bit integers, which wraps around."""
    import torch

    raw = flat.contiguous().view(torch.uint8)
    if raw.storage_offset() % 8:
        raw = raw.clone()
    words = len(raw) // 8 * 8
    return int(raw[:words].view(torch.int64).sum()) + sum(raw[words:].tolist())
