"""What the formats of conversations share, for any turns and texts: an example or a reason, and no picture lost."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.example import PICTURE, Example
from data_prep.rows import REASONS, Rejected, RowError
from data_prep.sniff import Sample
from data_prep.sources import open_source
from data_prep.turns import MARKER, UNPLACED, Conversation, marked, to_example

FORMATS = ("llava_conversations", "sharegpt", "messages", "qwen_vl")

texts = st.lists(
    st.sampled_from([MARKER, " ", "\n", "a", "is it?", "\u3000", PICTURE, "<img>", "a.jpg", "</img>", "\ud800"]),
    max_size=6,
).map("".join)
roles = st.sampled_from(["human", "gpt", "user", "assistant", "system", "tool", "", "x"])


def example(*said: tuple[str, str], pictures: int = 0, leading: bool = False) -> Example:
    names = [f"{number}.jpg" for number in range(pictures)]
    return to_example("row", Conversation(said, names, leading=leading), lambda name, where: Path(name), "here")


@given(texts, st.booleans())
def test_marking_keeps_every_word_and_turns_every_marker_into_a_picture(text: str, to_front: bool) -> None:
    turns = [("human", text), ("gpt", f"{MARKER} stays")]
    if PICTURE in text:
        with pytest.raises(RowError) as error:
            marked(turns, "here", to_front)
        assert error.value.reason == "invalid text" and error.value.where == "here"
        return
    (_, question), (_, answer) = marked(turns, "here", to_front)
    assert question.count(PICTURE) == text.count(MARKER) and MARKER not in question
    assert question.replace(PICTURE, "") == text.replace(MARKER, "") and answer == f"{MARKER} stays"
    if to_front and text.count(MARKER) == 1:
        assert question.startswith(PICTURE)


@pytest.mark.parametrize(
    ("question", "settled"),
    [
        (f" {PICTURE}\n {PICTURE} \nIs it? \n", f"{PICTURE * 2}Is it?"),
        (f"Is it?\n{PICTURE} {PICTURE}\n", f"Is it?{PICTURE * 2}"),
        (f"{PICTURE} Is \n{PICTURE} it? {PICTURE}", f"{PICTURE}Is \n{PICTURE} it?{PICTURE}"),
        (f"\n{PICTURE} {PICTURE}", PICTURE * 2),
        (f"{PICTURE}\u3000Is it?\u3000", f"{PICTURE}Is it?"),
        (" Is  it? ", "Is  it?"),
    ],
)
def test_white_space_goes_from_the_ends_and_stays_within(question: str, settled: str) -> None:
    found = example(("user", question), ("assistant", " yes "), pictures=question.count(PICTURE))
    assert found.question == settled
    assert found.answer == " yes "  # the template's writer strips answers, for all sources


@given(st.lists(st.tuples(roles, texts), max_size=5), st.integers(0, 3), st.booleans())
def test_any_turns_are_an_example_or_a_reason(said: list, pictures: int, leading: bool) -> None:
    try:
        found = example(*said, pictures=pictures, leading=leading)
    except RowError as error:
        assert error.reason in REASONS and error.where == "here" and error.what
        return
    signs = sum(question.count(PICTURE) for question, _ in found.turns)
    assert len(found.images) == pictures and signs in (0, pictures)
    assert found.repairs == ((UNPLACED,) if pictures and not signs and not leading else ())
    assert all(answer.strip() for _, answer in found.turns)
    assert all(question or (pictures and not number) for number, (question, _) in enumerate(found.turns))
    assert 2 * len(found.turns) + bool(said[0][0] == "system") == len(said)


def test_a_picture_is_asked_for_after_all_else_is_well() -> None:
    asked: list[str] = []
    row = Conversation([("user", PICTURE), ("assistant", " ")], ["a.jpg"])
    with pytest.raises(RowError, match="nothing to learn"):
        to_example("row", row, lambda name, where: asked.append(name) or Path(name), "here")
    assert not asked  # it may be at a URL


@pytest.mark.parametrize("end", ["", "x"])
def test_texts_of_nothing_but_space_and_markers_are_read_in_no_time(end: str) -> None:
    begin = time.perf_counter()
    for text in (" " * 300_000 + end, f"{MARKER} " * 100_000 + end, f"{end}{MARKER}{' ' * 300_000}" * 2):
        [(_, question)] = marked([("user", text)], "here")
        example(("user", question + "?"), ("assistant", "a"), pictures=text.count(MARKER))
    assert time.perf_counter() - begin < 30  # minutes, were a text looked through again for each of its signs


KEYS = ["from", "value", "role", "content", "type", "text", "image", "images", "image_url", "url", "messages"]
KEYS += ["conversations", "prompt", "completion", "system", "tools", "video", "weight", "tool_calls"]
KEYS += ["loss", "train", "label", "chosen", "objects", "reasoning_content"]

values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | texts | st.sampled_from(["user", "assistant", "image", "text"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=150, deadline=None)
@given(rows=st.lists(values, max_size=4))
def test_any_json_is_accepted_or_rejected_row_by_row(
    name: str, rows: list, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    (folder / "a.jpg").touch()
    (folder / "train.json").write_text(json.dumps(rows), encoding="utf-8")
    found = list(open_source(name).rows("train", folder))
    assert len(found) == len(rows)
    for number, row in enumerate(found):
        assert isinstance(row, Example | Rejected) and row.where.endswith(f"train.json, row {number}")


EACH = {
    "llava_conversations": {"image": "a.jpg", "conversations": [{"from": "human", "value": "<image>"}]},
    "qwen_vl": {"conversations": [{"from": "user", "value": "Picture 1: <img>a.jpg</img>"}]},
    "sharegpt": {"images": ["a.jpg"], "conversations": [{"from": "human", "value": "<image>"}]},
    "messages": {"messages": [{"role": "user", "content": [{"type": "image", "image": "a.jpg"}]}]},
}
OTHERS = [
    ("sharegpt", {"images": ["a.jpg"], "messages": [{"role": "user", "content": "<image>"}]}),
    ("sharegpt", {"conversations": [{"from": "human", "value": "a"}]}),
    ("messages", {"images": ["a.jpg"], "messages": [{"role": "user", "content": "a"}]}),
    ("messages", {"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "a"}]}),
    ("qwen_vl", {"video": "a.mp4", "conversations": [{"from": "human", "value": "<video>"}]}),
    (None, {"question": "a", "answer": "b"}),
    (None, {"messages": "a"}),
    (None, {"messages": []}),
]


@pytest.mark.parametrize(("name", "record"), [*EACH.items(), *OTHERS])
def test_a_file_is_recognised_by_the_one_format_that_it_has(name: str | None, record: dict) -> None:
    sample = Sample(path=Path("a.json"), folder=Path(), suffix=".json", records=(record, record, "broken"))
    why = {name: open_source(name).recognise(sample) for name in FORMATS}
    assert [name for name in FORMATS if why[name]] == ([name] if name else [])


@given(rows=st.lists(values, max_size=4))
def test_recognising_never_fails(rows: list) -> None:
    sample = Sample(path=Path("a.json"), folder=Path(), suffix=".json", records=tuple(rows))
    for name in FORMATS:
        assert open_source(name).recognise(sample) is None or isinstance(open_source(name).recognise(sample), str)
