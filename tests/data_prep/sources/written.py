"""A user's folder for the tests of the conversation formats: one file of rows, and pictures that nobody opens."""

from __future__ import annotations

import json
from pathlib import Path

PICTURES = (
    "a.jpg",
    "b.jpg",
    "coco/train2017/000000033471.jpg",
    "mllm_demo_data/1.jpg",
    "assets/mm_tutorial/Beijing.jpeg",
)


def write(folder: Path, *rows: object, file: str = "mix.json") -> Path:
    """The folder, with the rows as a JSON list, or as JSON lines where the file is called so."""
    for name in PICTURES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"not opened here")
    text = "\n".join(map(json.dumps, rows)) if file.endswith(".jsonl") else json.dumps(rows)
    (folder / file).write_text(text, encoding="utf-8")
    return folder
