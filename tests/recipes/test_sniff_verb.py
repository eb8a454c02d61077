"""`sniff` proposes a source, or shows why a file cannot be read."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from data_prep.section import SourceSection
from data_prep.sources import check_source
from mlplora_vlm.errors import MendableError
from recipes.__main__ import main

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


def sniff(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code, and all that is printed."""
    code = main(["sniff", str(path)])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


@pytest.mark.parametrize(
    ("name", "content", "line", "says"),
    [
        ("rows.json", '[{"a": 1},\n {"a": 2,,}]', 2, "Expecting"),
        ("rows.json", '[\n{"a": 1}\n', 2, "breaks off after 1 rows"),
        ("rows.json", '{\n "a": [\n  1,\n  2,,\n ]}', 4, "column 5"),
        ("rows.jsonl", '{"a": 1}\n{"a": \n', 2, "not JSON"),
        ("rows.jsonl", "a,b\n1,2\n", 1, "neither JSON lines nor a JSON list"),
        ("rows.csv", "a,b\n1,2,3\n", 2, "3 cells under 2 columns"),
        ("rows.csv", "a,a\n1,2\n", 1, "two columns"),
        ("rows.parquet", "PAR1", None, "the parquet file cannot be read"),
        ("rows.json", POINTER, None, "git-LFS pointer"),
        ("rows.csv", POINTER, None, "git-LFS pointer"),
        ("rows.parquet", POINTER, None, "git-LFS pointer"),
    ],
)
@pytest.mark.parametrize("whole_folder", [True, False])
def test_a_file_that_cannot_be_read_says_where_and_why(tmp_path, capsys, name, content, line, says, whole_folder):
    (tmp_path / name).write_text(content)
    code, text = sniff(tmp_path if whole_folder else tmp_path / name, capsys)
    place = f"{tmp_path / name}:{line}" if line else str(tmp_path / name)
    assert code == 2 and f"{place}: " in text and says in text and "Traceback" not in text


def test_an_empty_file_is_called_so(tmp_path, capsys):
    (tmp_path / "rows.json").touch()
    code, text = sniff(tmp_path / "rows.json", capsys)
    assert code == 2 and "an empty file" in text


@pytest.mark.parametrize("key", ["image", "images"])
def test_markers_go_with_the_images_under_either_key(tmp_path, capsys, key):
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.png")
    turns = [{"role": "user", "content": "<image>What is it?"}, {"role": "assistant", "content": "red"}]
    (tmp_path / "train.jsonl").write_text(json.dumps({"messages": turns, key: "a.png"}) + "\n")
    code, text = sniff(tmp_path / "train.jsonl", capsys)
    assert code == 0 and "1. sharegpt" in text and "40 x 30 pixels" in text and "none is left out" in text


def test_context_and_rejections_are_shown(tmp_path, capsys):
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.png")
    said = [("user", "<image>One?"), ("assistant", "skip"), ("user", "Two?"), ("assistant", "learn")]
    turns = [{"role": role, "content": text} for role, text in said]
    turns[1]["loss"] = False
    rows = [{"messages": turns, "images": ["a.png"]}, {"messages": turns, "images": ["a.png"], "rejected": "no"}]
    (tmp_path / "train.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    code, text = sniff(tmp_path / "train.jsonl", capsys)
    lines = [line.split() for line in text.splitlines()]
    assert code == 0 and ["context", "skip"] in lines and ["answer", "learn"] in lines
    assert "train.jsonl:2: a row has the key 'rejected'" in text


def test_a_broken_file_beside_a_good_one_is_named(tmp_path, capsys):
    (tmp_path / "train.jsonl").write_text(json.dumps({"question": "One?", "answer": "1"}) + "\n")
    (tmp_path / "val.json").write_text("[\n\n{,")
    code, text = sniff(tmp_path, capsys)
    assert code == 0 and "1. table" in text and f"{tmp_path / 'val.json'}:3: " in text


def test_rows_for_another_kind_of_training_are_called_so(tmp_path, capsys):
    (tmp_path / "train.jsonl").write_text(json.dumps({"prompt": "One?", "chosen": "1", "rejected": "2"}) + "\n")
    code, text = sniff(tmp_path / "train.jsonl", capsys)
    assert code == 2 and "cannot be taught: a row has the key 'chosen'" in text


def test_a_home_of_nobody_is_a_missing_folder(capsys):
    code, text = sniff(Path("~nobody-of-this-name/data"), capsys)
    assert code == 2 and "there is no such file or folder" in text
    with pytest.raises(MendableError, match="no file that ends in"):
        check_source(SourceSection("messages", folder="~nobody-of-this-name/data"))


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes there")
def test_a_folder_of_any_name_is_shown(tmp_path, capsys):
    folder = tmp_path / "f\udcffolder"
    folder.mkdir()
    (folder / "train.jsonl").write_text(json.dumps({"question": "half \ud83d?", "answer": "a\ud83d"}) + "\n")
    code, text = sniff(folder / "train.jsonl", capsys)
    text.encode()
    assert code == 0 and "1. table" in text
