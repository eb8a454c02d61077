"""ShareGPT's format as LLaMA-Factory reads it: both shapes, markers in any turn, a system text, tools refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from written import write

from data_prep.example import PICTURE
from data_prep.sources import sharegpt
from data_prep.turns import UNPLACED

# The first row of data/mllm_demo.json
FOOTBALL = {
    "messages": [
        {"content": "<image>Who are they?", "role": "user"},
        {"content": "They're Kane and Gretzka from Bayern Munich.", "role": "assistant"},
        {"content": "What are they doing?<image>", "role": "user"},
        {"content": "They are celebrating on the soccer field.", "role": "assistant"},
    ],
    "images": ["mllm_demo_data/1.jpg", "mllm_demo_data/1.jpg"],
}
# The shape of data/glaive_toolcall_en_demo.json
TOOLS = {
    "conversations": [
        {"from": "human", "value": "I have chicken, bell peppers, and rice."},
        {"from": "function_call", "value": '{"name": "search_recipes", "arguments": {}}'},
        {"from": "observation", "value": '{"recipes": []}'},
        {"from": "gpt", "value": "I found two recipes for you."},
    ],
    "tools": "[]",
}


def shareGPT(row: dict) -> dict:  # noqa: N802
    """The row in the format's other shape."""
    names = {"user": "human", "assistant": "gpt", "system": "system"}
    turns = [{"from": names[turn["role"]], "value": turn["content"]} for turn in row["messages"]]
    return {key: value for key, value in row.items() if key != "messages"} | {"conversations": turns}


def read(folder: Path, *given: object) -> list:
    return list(sharegpt.rows("train", write(folder, *given)))


def test_pictures_stand_where_the_markers_do_in_any_turn_and_either_shape(tmp_path: Path) -> None:
    by_role, by_name = read(tmp_path, FOOTBALL, shareGPT(FOOTBALL))
    for row in (by_role, by_name):
        assert row.earlier == ((f"{PICTURE}Who are they?", "They're Kane and Gretzka from Bayern Munich."),)
        assert row.question == f"What are they doing?{PICTURE}" and row.answer.startswith("They are celebrating")
        assert row.images == (tmp_path / "mllm_demo_data/1.jpg",) * 2
        assert not row.repairs and row.category == "picture"
    assert [row.id for row in (by_role, by_name)] == ["sharegpt/train/000000", "sharegpt/train/000001"]


def test_the_system_text_is_a_turn_or_a_field_and_the_turn_goes_first(tmp_path: Path) -> None:
    headed = FOOTBALL | {"messages": [{"role": "system", "content": "Be brief."}, *FOOTBALL["messages"]]}
    beside, inside, both, none = read(
        tmp_path,
        FOOTBALL | {"system": "Be kind."},
        headed,
        headed | {"system": "Be kind."},
        FOOTBALL | {"system": None},
    )
    assert [row.system for row in (beside, inside, both, none)] == ["Be kind.", "Be brief.", "Be brief.", ""]
    assert len({row.turns for row in (beside, inside, both, none)}) == 1


def test_pictures_without_any_marker_are_put_first_and_it_is_said(tmp_path: Path) -> None:
    bare = [turn | {"content": turn["content"].replace("<image>", "")} for turn in FOOTBALL["messages"]]
    marked, text = read(tmp_path, FOOTBALL | {"messages": bare}, {"messages": bare, "images": []})
    assert marked.repairs == (UNPLACED,) and len(marked.images) == 2
    assert not text.repairs and text.category == "text"


@pytest.mark.parametrize(
    ("row", "reason", "says"),
    [
        (TOOLS, "unsupported content", "'function_call'"),
        (FOOTBALL | {"tools": '[{"name": "search"}]'}, "unsupported content", "'tools'"),
        (FOOTBALL | {"videos": ["mllm_demo_data/1.mp4"]}, "unsupported content", "'videos'"),
        (FOOTBALL | {"audios": ["mllm_demo_data/1.mp3"]}, "unsupported content", "'audios'"),
        (FOOTBALL | {"label": False}, "unsupported content", "'label' is False"),
        (FOOTBALL | {"images": ["a.jpg"]}, "picture markers", "mark 2 pictures, and the row names 1"),
        (FOOTBALL | {"images": None}, "picture markers", "mark 2 pictures, and the row names 0"),
        (FOOTBALL | {"images": [{"path": "a.jpg"}] * 2}, "wrong type", "'images'"),
        (FOOTBALL | {"messages": FOOTBALL["messages"][:-1]}, "roles out of order", "the last word"),
        (FOOTBALL | {"system": 3}, "wrong type", "'system'"),
        ({"instruction": "a", "output": "b"}, "missing field", "'conversations'"),
    ],
)
def test_what_does_not_fit_is_rejected(tmp_path: Path, row: object, reason: str, says: str) -> None:
    rejected, _ = read(tmp_path, row, FOOTBALL)
    assert rejected.reason == reason and says in rejected.detail
