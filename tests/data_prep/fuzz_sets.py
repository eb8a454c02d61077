"""A small valid set of every source that reads a user's files, as the values that its files hold."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hostile_pictures

PNG = hostile_pictures.plain()["plain.png"]


@dataclass(frozen=True)
class SmallSet:
    """One source's files: a .json holds its value, a .jsonl its items in lines, a .csv its rows of cells."""

    source: str
    files: Mapping[str, Any]
    count: Callable[[Mapping[str, Any]], int]
    """How many rows the files' values make; raises where they are not what the source could read."""
    split: str = "train"
    prompt: str = "as_written"
    pictures: tuple[str, ...] = ("a.png", "b.png")
    options: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    """What the source may say of the whole set where a value has changed: part of its message."""
    unnamed: bool = False
    """Pictures that no line names are rows, too."""

    def write(self, folder: Path, changed: Mapping[str, Any] | None = None) -> Path:
        """The folder with the files, those in ``changed`` with that value, or those bytes."""
        for name in self.pictures:
            if not (folder / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(PNG)
        for name, value in {**self.files, **(changed or {})}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(value if isinstance(value, bytes) else encoded(name, value))
        return folder


def encoded(name: str, value: Any) -> bytes:
    """The file of this name with the value in it."""
    if name.endswith(".csv"):
        file = io.StringIO(newline="")
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([row if isinstance(row, list) else [row] for row in value])
        return file.getvalue().encode(errors="surrogatepass")
    if name.endswith(".jsonl"):
        return "\n".join(map(_json, value)).encode()
    return value.encode(errors="surrogatepass") if name.endswith(".txt") else _json(value).encode()


def _json(value: Any) -> str:
    """JSON; see `mutants.NESTED`."""
    return re.sub(r'"<nested (\d+)>"', lambda found: "[" * int(found[1]) + "]" * int(found[1]), json.dumps(value))


def _items(name: str) -> Callable[[Mapping[str, Any]], int]:
    return lambda values: lines(encoded(name, values[name])) if name.endswith(".jsonl") else len(values[name])


def lines(file: bytes) -> int:
    """The rows of a file of JSON lines; a list that is all of it is read as a list."""
    found = [line for line in file.split(b"\n") if line.strip()]
    try:
        whole = json.loads(file)
    except (ValueError, RecursionError):
        return len(found)
    return len(whole) if isinstance(whole, list) else len(found)


def _conversations() -> list[SmallSet]:
    human = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A cat."}]
    more = [*human, {"from": "human", "value": "Why?"}, {"from": "gpt", "value": "It has whiskers."}]
    user = [{"role": "user", "content": "<image><image>Compare."}, {"role": "assistant", "content": "Equal."}]
    head = {"from": "system", "value": "Be brief."}
    parts = [{"type": "image"}, {"type": "text", "text": "What is it?"}]
    said = {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]}
    url = {"type": "image_url", "image_url": {"url": "b.png"}}
    named = {"from": "user", "value": "Picture 1: <img>a.png</img>\nWhat is it?"}
    llava = [
        {"id": "000", "image": "a.png", "conversations": human},
        {
            "id": 1,
            "image": ["a.png", "b.png"],
            "conversations": [head, {**human[0], "value": "<image> <image> hm?"}, human[1]],
        },
        {"id": "2", "conversations": more[2:]},
    ]
    sharegpt = [
        {"conversations": [head, *more], "images": ["a.png"]},
        {"messages": user, "images": ["a.png", "b.png"], "system": "Be brief."},
    ]
    messages = [
        {"messages": [{"role": "user", "content": parts}, said], "images": ["a.png"]},
        {"messages": [{"role": "system", "content": "Hm."}, {"role": "user", "content": [url, parts[1]]}, said]},
        {"prompt": [{"role": "user", "content": "What is it?"}], "completion": [said], "image": "b.png"},
    ]
    qwen = [
        {"image": "a.png", "conversations": human},
        {
            "id": "identity_0",
            "conversations": [named, {"from": "assistant", "value": "<ref>A cat</ref><box>(1,2),(3,4)</box>"}],
        },
    ]
    return [
        SmallSet("llava_conversations", {"train.json": llava}, _items("train.json")),
        SmallSet("llava_conversations", {"train.jsonl": llava}, _items("train.jsonl")),
        SmallSet("sharegpt", {"train.json": sharegpt}, _items("train.json")),
        SmallSet("messages", {"train.jsonl": messages}, _items("train.jsonl")),
        SmallSet("qwen_vl", {"train.json": qwen}, _items("train.json")),
    ]


def _tables() -> list[SmallSet]:
    rows = [
        {"image": "a.png", "question": "What is it?", "answer": "cat", "category": "open", "id": 7},
        {"image": ["a.png", "b.png"], "question": "<image> or <image>?", "answer": "no", "references": ["no", "none"]},
        {
            "image": None,
            "question": "One and one?",
            "answer": "two",
            "references": [{"answer": "two"}, {"answer": "2"}],
        },
    ]
    cells = [
        ["image", "question", "answer"],
        ["a.png", "What is it?", "cat"],
        ['["a.png", "b.png"]', "Same, or\nnot?", "no"],
    ]
    captions = [{"file_name": "a.png", "text": "a cat"}, {"file_name": "sub/c.png", "text": "a dog"}]
    columns = ("column", "first line", "may be in any")
    folder = ("a.png", "sub/c.png")
    return [
        SmallSet("table", {"train.json": rows}, _items("train.json"), needs=columns),
        SmallSet("table", {"train.jsonl": rows}, _items("train.jsonl"), needs=columns),
        SmallSet("table", {"train.csv": cells}, lambda values: _csv_rows(*values["train.csv"]), needs=columns),
        SmallSet(
            "image_folder",
            {"train/metadata.jsonl": captions},
            _items("train/metadata.jsonl"),
            unnamed=True,
            prompt="caption",
            pictures=tuple(f"train/{name}" for name in folder),
            needs=columns,
        ),
        SmallSet(
            "image_folder",
            {"a.txt": "a cat", "sub/c.txt": "a dog\n"},
            lambda values: 2,
            prompt="caption",
            pictures=folder,
        ),
    ]


def _csv_rows(header: Any = (), *rows: Any) -> int:
    """One for each row that is not empty; a broken one counts for each line that it takes up."""
    found = 0
    for row in rows:
        text = encoded(".csv", [row]).decode(errors="surrogateescape")
        whole = not any("\udc80" <= sign <= "\udcff" for sign in text)
        whole = whole and _cells(row) == _cells(header)
        found += min(1, _cells(row)) if whole else len(list(io.StringIO(text, newline=""))) * (row != [])
    return found


def _cells(row: Any) -> int:
    return len(row) if isinstance(row, list) else 1


SETS = [*_conversations(), *_tables()]
