"""Folders of pictures with captions: metadata files and .txt files, and what has no counterpart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from data_prep.example import Example
from data_prep.rows import Rejected
from data_prep.sources import image_folder
from mlplora_vlm.errors import MendableError


def write(folder: Path, **files: str | bytes) -> Path:
    """Files by their names, with / for __ and . for the last _."""
    for name, content in files.items():
        stem, _, suffix = name.replace("__", "/").rpartition("_")
        path = folder / f"{stem}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def lines(*rows: object) -> str:
    return "\n".join(map(json.dumps, rows))


def read(folder: Path, split: str = "train") -> tuple[dict[str, str], dict[str, str]]:
    """(caption of each picture, reason of each rejection), both by the path under ``folder``."""
    rows = list(image_folder.rows(split, folder))
    examples = [row for row in rows if isinstance(row, Example)]
    assert [row.id for row in rows if isinstance(row, Example)] == [
        f"image_folder/{split}/{number:06d}" for number, row in enumerate(rows) if isinstance(row, Example)
    ]
    assert all(row.question == "" and row.references == (row.answer,) for row in examples)
    rejected = {Path(row.where).relative_to(folder).as_posix(): row.reason for row in rows if isinstance(row, Rejected)}
    assert len(examples) + len(rejected) == len(rows)
    return {row.images[0].relative_to(folder).as_posix(): row.answer for row in examples}, rejected  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metadata_jsonl", lines({"file_name": "b.png", "text": "blue"}, {"file_name": "s/a.jpg", "text": "red"})),
        ("metadata_csv", "file_name,text\nb.png,blue\ns/a.jpg,red\n"),
        ("metadata_csv", 'caption,file_name\n"blue",b.png\nred,s/a.jpg\n'),
    ],
)
def test_a_metadata_file_captions_the_pictures_below_it(tmp_path: Path, name: str, content: str) -> None:
    write(tmp_path, b_png=b"", s__a_jpg=b"", notes_txt="not a caption", **{name: content})
    assert read(tmp_path) == ({"b.png": "blue", "s/a.jpg": "red"}, {})


def test_a_folder_for_each_split(tmp_path: Path) -> None:
    row = lines({"file_name": "a.png", "text": "train's"})
    write(tmp_path, train__metadata_jsonl=row, train__a_png=b"", test__metadata_csv="file_name,text\na.png,test's\n")
    write(tmp_path, test__a_png=b"")
    assert read(tmp_path)[0] == {"train/a.png": "train's"} and read(tmp_path, "test")[0] == {"test/a.png": "test's"}
    with pytest.raises(
        MendableError, match="no folder of pictures for the split 'tests' \\(did you mean 'test'"
    ) as error:
        image_folder.check("tests", tmp_path)
    assert error.value.fix == "it has test, train"


def test_no_split_is_made_of_anothers_pictures(tmp_path: Path) -> None:
    write(tmp_path, val__a_png=b"", val__a_txt="x")
    with pytest.raises(MendableError, match="split 'train'"):
        image_folder.check("train", tmp_path)
    with pytest.raises(MendableError, match="split 'val'"):
        image_folder.check("val", tmp_path / "val")
    assert read(tmp_path / "val") == ({"a.png": "x"}, {})


def test_captions_in_files_beside_the_pictures(tmp_path: Path) -> None:
    write(tmp_path, b_png=b"", b_txt="\ufeff blue\n", a_JPG=b"", a_txt="red", z__c_webp=b"", z__c_txt="green")
    write(tmp_path, z__c_json="{}", README_md="left alone")
    assert list(read(tmp_path)[0].items()) == [("a.JPG", "red"), ("b.png", "blue"), ("z/c.webp", "green")]


def test_what_has_no_counterpart_is_rejected(tmp_path: Path) -> None:
    write(tmp_path, a_png=b"", a_txt="red", b_png=b"", c_txt="green", d_png=b"", d_txt=" \n", e_png=b"", e_txt=b"\xff")
    write(tmp_path, s__x_png=b"", s__y_png=b"", s__z_txt="not looked at: the folder has a metadata file")
    rows = [{"file_name": "x.png", "text": "red"}, {"file_name": "gone.png", "text": "?"}, {"file_name": "x.png"}]
    write(tmp_path, s__metadata_jsonl=lines(*rows, {"file_name": "../a.png", "text": "?"}) + "\n{broken")
    captions, rejected = read(tmp_path)
    assert captions == {"a.png": "red", "s/x.png": "red"}
    assert rejected == {
        "b.png": "no annotation",
        "c.txt": "missing picture",
        "d.png": "empty answer",
        "e.png": "invalid text",
        "s/metadata.jsonl:2": "missing picture",
        "s/metadata.jsonl:3": "empty answer",
        "s/metadata.jsonl:4": "picture outside its folder",
        "s/metadata.jsonl:5": "broken line",
        "s/y.png": "no annotation",
    }


def test_a_picture_whose_row_is_rejected_is_counted_once(tmp_path: Path) -> None:
    write(tmp_path, a_png=b"", metadata_jsonl=lines({"file_name": "./a.png", "text": ""}))
    assert read(tmp_path) == ({}, {"metadata.jsonl:1": "empty answer"})


def test_a_metadata_file_may_ask_questions(tmp_path: Path) -> None:
    write(tmp_path, a_png=b"", metadata_jsonl=lines({"file_name": "a.png", "question": "What?", "answer": "a square"}))
    (row,) = image_folder.rows("train", tmp_path)
    assert (row.question, row.answer) == ("What?", "a square")
    (row,) = image_folder.rows("train", tmp_path, columns={"answer": "question", "question": "answer"})
    assert (row.question, row.answer) == ("a square", "What?")


def test_links_lead_nowhere_outside(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside", secret_png=b"", secret_txt="secret")
    inside = write(tmp_path / "inside", a_png=b"", a_txt="red", c_png=b"")
    (inside / "folder").symlink_to(outside)
    (inside / "b.png").symlink_to(outside / "secret.png")
    (inside / "b.txt").write_text("blue")
    (inside / "c.txt").symlink_to(outside / "secret.txt")
    captions, rejected = read(inside)
    assert captions == {"a.png": "red"}
    assert rejected == dict.fromkeys(["folder", "b.png", "c.png"], "picture outside its folder")


def test_hidden_files_and_folders_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path, a_png=b"", a_txt="red")
    (tmp_path / ".cache").mkdir()
    for name in ("._a.png", ".cache/x.png", ".DS_Store"):
        (tmp_path / name).write_bytes(b"")
    assert read(tmp_path) == ({"a.png": "red"}, {})


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"metadata_jsonl": lines({"picture": "a.png", "text": "x"})}, "no column is the image"),
        ({"metadata_csv": "file_name\na.png\n"}, "no column is the answer"),
        ({"metadata_csv": "file_name,text\n", "metadata_jsonl": "{}"}, "two metadata files"),
        ({"metadata_jsonl": "not JSON"}, "neither JSON lines"),
    ],
)
def test_a_metadata_file_that_cannot_be_read_is_said_at_once(tmp_path: Path, files: dict, says: str) -> None:
    with pytest.raises(MendableError, match=says):
        image_folder.check("train", write(tmp_path, a_png=b"", **files))


@pytest.mark.parametrize("folder", [None, Path("/nowhere/at/all")])
def test_a_missing_folder_is_said(folder: Path | None) -> None:
    with pytest.raises(MendableError, match="folder"):
        image_folder.check("train", folder)
