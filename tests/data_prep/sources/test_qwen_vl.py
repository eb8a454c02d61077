"""Qwen-VL's two formats: markers beside `image`, and paths framed within the text; videos are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from written import write

from data_prep.example import PICTURE
from data_prep.sources import qwen_vl

# qwen-vl-finetune/demo/single_images.json and README.md of Qwen3-VL
CHART = {
    "image": "a.jpg",
    "conversations": [
        {"from": "human", "value": "Is the value of Favorable 38 in 2015?\n<image>"},
        {"from": "gpt", "value": "Yes"},
    ],
}
CATS = {
    "image": ["a.jpg", "b.jpg"],
    "conversations": [
        {"from": "human", "value": "<image>\n<image>\nWhat are the differences between these two cats?"},
        {"from": "gpt", "value": "The first cat is an orange tabby."},
    ],
}
VIDEO = {
    "video": "videos/005.mp4",
    "conversations": [{"from": "human", "value": "<video>\nWhat?"}, CHART["conversations"][1]],
}
# README.md of Qwen-VL
SHIRT = {
    "id": "identity_1",
    "conversations": [
        {"from": "user", "value": "Picture 1: <img>a.jpg</img>\n图中的狗是什么品种？"},
        {"from": "assistant", "value": "图中是一只拉布拉多犬。"},
        {"from": "user", "value": "框出图中的格子衬衫"},
        {"from": "assistant", "value": "<ref>格子衬衫</ref><box>(588,499),(725,789)</box>"},
    ],
}
CITIES = {
    "id": "identity_2",
    "conversations": [
        {
            "from": "user",
            "value": "Picture 1: <img>b.jpg</img>\nPicture 2: <img>assets/mm_tutorial/Beijing.jpeg</img>\n图中都是哪",
        },
        {"from": "assistant", "value": "第一张图片是重庆的城市天际线，第二张图片是北京的天际线。"},
    ],
}


def read(folder: Path, *given: object) -> list:
    return list(qwen_vl.rows("train", write(folder, *given)))


def says(value: str, answer: str = "yes", role: str = "user", **row: object) -> dict:
    return row | {"conversations": [{"from": role, "value": value}, {"from": "assistant", "value": answer}]}


def test_pictures_stand_where_the_markers_do(tmp_path: Path) -> None:
    chart, cats = read(tmp_path, CHART, CATS)
    assert chart.question == f"Is the value of Favorable 38 in 2015?{PICTURE}" and chart.answer == "Yes"
    assert cats.question == f"{PICTURE}{PICTURE}What are the differences between these two cats?"
    assert cats.images == (tmp_path / "a.jpg", tmp_path / "b.jpg")


def test_pictures_stand_where_the_first_format_names_them_and_boxes_stay(tmp_path: Path) -> None:
    shirt, cities = read(tmp_path, SHIRT, CITIES)
    assert shirt.images == (tmp_path / "a.jpg",)
    assert shirt.earlier == ((f"{PICTURE}图中的狗是什么品种？", "图中是一只拉布拉多犬。"),)
    assert shirt.answer == "<ref>格子衬衫</ref><box>(588,499),(725,789)</box>"
    assert cities.images == (tmp_path / "b.jpg", tmp_path / "assets/mm_tutorial/Beijing.jpeg")
    assert cities.question == f"{PICTURE}{PICTURE}图中都是哪"


def test_a_picture_may_be_named_within_the_text_and_in_later_turns(tmp_path: Path) -> None:
    later = says("Is <img>a.jpg</img> a dog?")
    later["conversations"] += says("And Picture 2: <img>b.jpg</img>")["conversations"]
    [row] = read(tmp_path, later)
    assert row.earlier == ((f"Is {PICTURE} a dog?", "yes"),) and row.question == f"And{PICTURE}"


@pytest.mark.parametrize(
    ("row", "reason", "said"),
    [
        (VIDEO, "unsupported content", "'video'"),
        (says("<img>a.jpg\nIs it?"), "picture markers", "do not frame"),
        (says("a.jpg</img>\nIs it?"), "picture markers", "do not frame"),
        (says("<img></img>\nIs it?"), "picture markers", "do not frame"),
        (says("<img><img>a.jpg</img>\nIs it?"), "picture markers", "do not frame"),
        (says("Is it?", answer="<img>a.jpg</img>"), "picture markers", "do not frame"),
        (says("<img>a.jpg</img>\nIs it?", image="a.jpg"), "picture markers", "both"),
        (says("<img>../a.jpg</img>\nIs it?"), "picture outside its folder", "lies outside"),
        (says("<img>https://localhost:1/a.jpg</img>"), "picture by URL", "set `urls`"),
        (CATS | {"image": "a.jpg"}, "picture markers", "mark 2 pictures, and the row names 1"),
        ([CHART, CATS], "missing field", "'conversations'"),
    ],
)
def test_what_does_not_fit_is_rejected(tmp_path: Path, row: object, reason: str, said: str) -> None:
    rejected, _ = read(tmp_path, row, CHART)
    assert rejected.reason == reason and said in rejected.detail


def test_a_text_of_opened_frames_is_read_in_no_time(tmp_path: Path) -> None:
    hostile = says("Picture 1: <img>" * 100_000 + "Picture 1" * 100_000)
    [row] = read(tmp_path, hostile)  # minutes, were each opening to look through all that follows
    assert row.reason == "picture markers"
