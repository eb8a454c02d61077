"""Readers return what writers wrote, and name whatever is no such file: the file, the line, and how to get it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import open_tensors, parse_json, read_json, read_tensors, write_json

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
PAGE = b"\n<!DOCTYPE html>\n<html><body>404</body></html>"


@pytest.mark.parametrize("read", [read_json, read_tensors, open_tensors])
@pytest.mark.parametrize(
    ("content", "what", "fix"),
    [(b"", "is empty", "download"), (LFS, "git-LFS pointer", "git lfs pull"), (PAGE, "web page", "the file itself"),
     (None, "is missing", "download")],
)  # fmt: skip
def test_what_is_not_the_file_itself_is_named(tmp_path: Path, read, content, what, fix):
    path = tmp_path / "some.file"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MendableError, match=f"some.file {what}|some.file is a {what}") as error:
        read(path)
    assert error.value.where == str(path) and fix in error.value.fix


@pytest.mark.parametrize("read", [read_json, read_tensors])
def test_a_folder_is_no_file(tmp_path: Path, read):
    with pytest.raises(MendableError, match="cannot be read: Is a directory"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("content", "what", "line"),
    [
        (b'{\n "a": 1,\n}', "not JSON", 3),
        (b'{\n "a": "\xff"\n}', "not UTF-8", 2),
        (b'\xef\xbb\xbf{"a": 1}', "BOM", 1),
        (b"[" * 10**5, "not JSON", 1),
        (b"9" * 5000, "not JSON", 1),
    ],
)
def test_broken_json_is_named_with_its_line(tmp_path: Path, content, what, line):
    path = tmp_path / "some.json"
    path.write_bytes(content)
    with pytest.raises(MendableError, match=what) as error:
        read_json(path)
    assert error.value.where == f"{path}:{line}"


def test_the_type_is_looked_at(tmp_path: Path):
    write_json(tmp_path / "list.json", [1])
    assert read_json(tmp_path / "list.json", list) == read_json(tmp_path / "list.json") == [1]
    with pytest.raises(MendableError, match="expected an object, got a list"):
        read_json(tmp_path / "list.json", dict)
    with pytest.raises(MendableError, match="not JSON") as error:
        parse_json(b"{", Path("rows.jsonl"), dict, line=7)
    assert error.value.where == "rows.jsonl:7"


def test_tensors_come_back_and_a_file_that_was_cut_short_is_named(tmp_path: Path):
    path, tensors = tmp_path / "some.safetensors", {"a": torch.randn(30), "b": torch.arange(3)}
    save_file(tensors, path)
    read = read_tensors(path)
    assert read.keys() == tensors.keys() and all(torch.equal(read[name], tensors[name]) for name in tensors)
    whole = path.read_bytes()
    for size in (4, 20, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(MendableError, match=r"some.safetensors is truncated, or not a safetensors file"):
            read_tensors(path)
