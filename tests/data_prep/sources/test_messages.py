"""OpenAI's and TRL's messages: parts and text, where pictures come from and stand, and rows that do not fit."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from written import write

from data_prep.example import PICTURE, Example
from data_prep.sources import messages
from data_prep.turns import UNPLACED

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
BASE64 = base64.b64encode(PNG).decode()
A, B = {"type": "image", "image": "a.jpg"}, {"type": "image", "image": "b.jpg"}
SLOT = {"type": "image"}


def text(words: str) -> dict:
    return {"type": "text", "text": words}


def chat(*contents: Any, **row: Any) -> dict:
    """A row of user and assistant in turn."""
    roles = ("user", "assistant")
    return row | {"messages": [{"role": roles[n % 2], "content": content} for n, content in enumerate(contents)]}


def read(folder: Path, *given: object) -> list:
    return list(messages.rows("train", write(folder, *given, file="train.jsonl")))


@pytest.mark.parametrize(
    ("row", "question", "images"),
    [
        (chat("Is it?", "yes"), "Is it?", []),
        (chat([text("Is it?")], [text("y"), text("es")]), "Is it?", []),
        (chat([A, text("Is it?")], "yes"), f"{PICTURE}Is it?", ["a.jpg"]),
        (chat([A, text("\nIs it?\n"), B], "yes"), f"{PICTURE}Is it?{PICTURE}", ["a.jpg", "b.jpg"]),
        (chat([text("Is "), A, text(" it?")], "yes"), f"Is {PICTURE} it?", ["a.jpg"]),
        (chat([SLOT, text("Is it?")], "yes", images=["a.jpg"]), f"{PICTURE}Is it?", ["a.jpg"]),
        (chat([SLOT, text("Is it?")], "yes", image="a.jpg"), f"{PICTURE}Is it?", ["a.jpg"]),
        (chat([B, SLOT, text("Is it?")], "yes", images=["a.jpg"]), f"{PICTURE * 2}Is it?", ["b.jpg", "a.jpg"]),
        (
            chat([SLOT | {"text": None, "image": None}, text("?") | {"image": None}], "yes", images=["a.jpg"]),
            f"{PICTURE}?",
            ["a.jpg"],
        ),  # as Arrow writes parts
        (chat([{"type": "image", "path": "a.jpg"}], "yes"), PICTURE, ["a.jpg"]),
        (chat("Is it?", "yes", images=["a.jpg", "b.jpg"]), "Is it?", ["a.jpg", "b.jpg"]),  # TRL puts them first
        (chat("", "a dog", images=["a.jpg"]), "", ["a.jpg"]),
    ],
)
def test_pictures_come_from_parts_or_from_beside_and_stand_where_they_are_shown(
    tmp_path: Path, row: dict, question: str, images: list[str]
) -> None:
    [found] = read(tmp_path, row)
    assert found.question == question and found.images == tuple(tmp_path / name for name in images)
    assert found.answer in ("yes", "a dog") and not found.repairs


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image", "image": BASE64},
        {"type": "image", "image": f"data:image/png;base64,{BASE64}"},
        {"type": "image", "base64": BASE64},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{BASE64}", "detail": "low"}},
    ],
)
def test_a_picture_may_stand_in_the_row_itself(tmp_path: Path, part: dict) -> None:
    [found] = read(tmp_path, chat([part, text("Is it?")], "yes"))
    assert found.images == (PNG,)


def test_urls_are_fetched_where_that_is_allowed_one_row_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("data_prep.references.fetch", lambda url, where: asked.append(f"{url} {where}") or PNG)
    parts = ({"type": "image_url", "image_url": {"url": f"https://a.example/{name}.png"}} for name in "ab")
    folder = write(tmp_path, *(chat([part, text("Is it?")], "yes") for part in parts), file="train.jsonl")
    found = messages.rows("train", folder, urls=True)
    assert next(found).images == (PNG,) and asked == [f"https://a.example/a.png {folder / 'train.jsonl'}:1"]
    assert next(found).images == (PNG,) and len(asked) == 2


def test_pictures_of_later_turns_stay_there(tmp_path: Path) -> None:
    [found] = read(tmp_path, chat([A, text("Is it?")], "yes", [text("And"), B], "no"))
    assert found.turns == ((f"{PICTURE}Is it?", "yes"), (f"And{PICTURE}", "no"))


@pytest.mark.parametrize("role", ["system", "developer"])
@pytest.mark.parametrize("content", ["Be brief.", [text("Be "), text("brief.")]])
def test_the_systems_text_heads_the_conversation(tmp_path: Path, role: str, content: object) -> None:
    row = chat("Is it?", "yes")
    [found] = read(tmp_path, {"messages": [{"role": role, "content": content}, *row["messages"]]})
    assert found.system == "Be brief." and found.turns == (("Is it?", "yes"),)


def test_prompt_and_completion_are_one_conversation(tmp_path: Path) -> None:
    spoken = chat("Is it?", "yes", "And now?", "no")["messages"]
    split = {"prompt": spoken[:3], "completion": spoken[3:], "images": ["a.jpg"]}
    one, other = read(tmp_path, split, {"messages": spoken, "images": ["a.jpg"]})
    assert one.turns == other.turns and one.images == other.images


def test_pictures_that_no_part_shows_are_put_first_and_it_is_said(tmp_path: Path) -> None:
    [found] = read(tmp_path, chat([text("Is it?")], "yes", images=["a.jpg"]))
    assert found.repairs == (UNPLACED,) and found.images == (tmp_path / "a.jpg",)


CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f"}}],
}


@pytest.mark.parametrize(
    ("row", "reason", "says"),
    [
        (
            chat([{"type": "image_url", "image_url": {"url": "http://localhost:1/a.png"}}], "yes"),
            "picture by URL",
            "`urls`",
        ),
        (chat([{"type": "image", "url": "http://localhost:1/a.png"}], "yes"), "picture by URL", "`urls`"),
        (chat("Is it?", [A]), "picture markers", "only the user can"),
        (chat([SLOT, text("Is it?")], "yes"), "picture markers", "1 parts show a picture of `images`, which holds 0"),
        (chat([SLOT, SLOT], "yes", images=["a.jpg"]), "picture markers", "2 parts"),
        (chat([A, text("Is it?")], "yes", images=["a.jpg"]), "picture markers", "0 parts"),
        (chat("<image>Is it?", "yes", images=["a.jpg"]), "picture markers", "the source sharegpt"),
        (chat([A, text("<image>")], "yes"), "picture markers", "the source sharegpt"),
        (chat("Is it?", "an <image>"), "picture markers", "the assistant's text"),
        (chat(f"Is {PICTURE}?", "yes"), "invalid text", "U+FFFC"),
        (chat("Is it?"), "roles out of order", "the last word"),
        (chat("Is it?", "yes", "And?"), "roles out of order", "the last word"),
        (chat(), "roles out of order", "nobody"),
        (chat("Is it?", " "), "empty answer", "nothing"),
        (chat("Is it?", []), "empty answer", "nothing"),
        (chat([], "yes"), "empty question", "neither"),
        (chat([A], "yes", " ", "no"), "empty question", "neither"),
        (chat("Is it?", None), "wrong type", "'content'"),
        (chat([{"text": "Is it?"}], "yes"), "missing field", "'type'"),
        (chat([{"type": "text"}], "yes"), "missing field", "'text'"),
        (chat([{"type": "image_url", "image_url": "a.jpg"}], "yes"), "wrong type", "'image_url'"),
        (chat([{"type": "image", "image": {"bytes": "a"}}], "yes"), "wrong type", "'image'"),
        (chat([{"type": "video", "video": "a.mp4"}], "yes"), "unsupported content", "'video'"),
        (chat([{"type": "input_audio", "input_audio": {}}], "yes"), "unsupported content", "'input_audio'"),
        ({"messages": [{"role": "user", "content": "?"}, CALL]}, "unsupported content", "tool"),
        (
            {"messages": [{"role": "user", "content": "?"}, {"role": "tool", "content": "1"}]},
            "unsupported content",
            "tool",
        ),
        (
            {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "1", "weight": 0.5}]},
            "unsupported content",
            "'weight'",
        ),
        ({"messages": ["?", "!"]}, "missing field", "'role'"),
        ({"messages": [{"role": ["user"], "content": "?"}]}, "wrong type", "'role'"),
        ({"prompt": "Is it?", "completion": "yes"}, "wrong type", "'prompt'"),
        ({"prompt": chat("?")["messages"]}, "missing field", "'completion'"),
        ("a text", "missing field", "'messages'"),
        (None, "missing field", "'messages'"),
    ],
)
def test_what_does_not_fit_is_rejected(tmp_path: Path, row: object, reason: str, says: str) -> None:
    rejected, kept = read(tmp_path, row, chat("Is it?", "yes"))
    assert (rejected.reason, rejected.where) == (reason, f"{tmp_path / 'train.jsonl'}:1") and says in rejected.detail
    assert isinstance(kept, Example)
