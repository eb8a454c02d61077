"""Readers return what writers wrote, and name whatever is no such file: the file, the line, and how to get it.

Output folders: what this project did not write is never removed.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import (
    STAMP,
    check_claimable,
    claim_folder,
    emptied_folder,
    files_below,
    open_tensors,
    parse_json,
    read_json,
    read_tensors,
    replaced_folder,
    write_json,
)

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


def content(folder):
    return {name: (folder / name).read_text() for name in files_below(folder)}


def test_a_new_an_empty_and_a_stamped_folder_are_claimed(tmp_path):
    for folder in (tmp_path / "new" / "deep", tmp_path / "empty"):
        claim_folder(folder)
        (folder / "result").write_text("first run")
        claim_folder(folder)
        assert set(content(folder)) == {STAMP, "result"}


def test_a_folder_with_other_content_is_refused_untouched(tmp_path):
    (tmp_path / "data" / "vqav2").mkdir(parents=True)
    (tmp_path / "data" / "vqav2" / "rows.json").write_text("[]")
    for use in (check_claimable, claim_folder, emptied_folder):
        with pytest.raises(MendableError, match="data") as caught:
            use(tmp_path, ".stages/*.json")
        assert caught.value.where == str(tmp_path)
    assert content(tmp_path) == {"data/vqav2/rows.json": "[]"}


def test_what_an_earlier_version_left_is_proof_too(tmp_path):
    (tmp_path / ".stages").mkdir()
    (tmp_path / ".stages" / "train.json").write_text("{}")
    claim_folder(tmp_path, ".stages/*.json")
    assert (tmp_path / STAMP).is_file()


def test_a_file_in_the_place_of_the_folder_is_an_error_of_the_user(tmp_path):
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(MendableError) as caught:
            claim_folder(folder)
        assert caught.value.where == str(folder)
    assert content(tmp_path) == {"file": "mine"}


def test_an_emptied_folder_keeps_its_stamp_and_what_its_links_lead_to(tmp_path):
    claim_folder(tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    (tmp_path / "out" / "link").symlink_to(tmp_path / "mine")
    (tmp_path / "out" / "old").mkdir()
    emptied_folder(tmp_path / "out")
    assert files_below(tmp_path / "out") == {STAMP} and content(tmp_path / "mine") == {"file": "mine"}


@pytest.mark.parametrize("existing", ["folder", "file", "link"])
def test_only_an_empty_folder_is_replaced(tmp_path, existing):
    out = tmp_path / "out"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "weights").write_text("mine")
    if existing == "link":
        out.symlink_to(tmp_path / "mine")
    elif existing == "file":
        out.write_text("mine")
    else:
        out.mkdir()
        (out / "weights").write_text("mine")
    before = content(tmp_path) if existing != "link" else content(tmp_path / "mine")
    with pytest.raises(MendableError, match="1 other"), replaced_folder(out):
        pytest.fail("the work began")
    assert before == (content(tmp_path) if existing != "link" else content(tmp_path / "mine"))
    with replaced_folder(tmp_path / "new") as part:
        (part / "weights").write_text("made")
    assert content(tmp_path / "new") == {"weights": "made"}


def test_a_failed_replacement_leaves_what_was_there(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "ours").write_text("before")
    with pytest.raises(KeyboardInterrupt), replaced_folder(out, {"ours"}) as part:
        (part / "ours").write_text("half")
        raise KeyboardInterrupt
    assert content(tmp_path) == {"out/ours": "before"}


def test_json_has_null_for_what_is_not_finite_and_no_text_for_what_it_cannot_hold(tmp_path):
    path = tmp_path / "a" / "value.json"
    value = {"loss": [1.5, float("nan"), float("inf"), (-float("inf"), None)], "step": 3, "name": "é"}
    write_json(path, value)

    def refuse(constant):
        pytest.fail(f"{constant} is no JSON")

    found = json.loads(path.read_text("utf-8"), parse_constant=refuse)
    assert found == {"loss": [1.5, None, None, [None, None]], "step": 3, "name": "é"}
    for unknown in (object(), tmp_path, {1, 2}, torch.float32, np.float32(1)):
        with pytest.raises(TypeError):
            write_json(path, {"value": [unknown]})
    assert json.loads(path.read_text("utf-8")) == found and files_below(tmp_path) == {"a/value.json"}
