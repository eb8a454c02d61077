"""Keys that choose what is learned: context is never a label, and what cannot be honored rejects its row by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from PIL import Image

from data_prep.check import RowCheck
from data_prep.collate import IGNORED, TrainCollator
from data_prep.demo.tiny import tiny_family
from data_prep.demo.tiny.build import build_processor
from data_prep.example import Example
from data_prep.prepared import load_prepared, prepare
from data_prep.preview import Preview, preview_page
from data_prep.record import to_record
from data_prep.rows import Rejected, Row
from data_prep.section import DataSection
from data_prep.sources import open_source
from mlplora_vlm.errors import MendableError

FAMILIES = ("qwen2_5_vl", "llava", "smolvlm", "gemma3")
FORMATS = ("messages", "sharegpt", "llava_conversations", "qwen_vl")


def conversation(source: str, first: dict[str, Any], second: dict[str, Any], **row: Any) -> dict[str, Any]:
    """Two questions and answers in the source's format, with further keys of the answers and of the row."""
    role, text, key = ("role", "content", "messages") if source == "messages" else ("from", "value", "conversations")
    asks, answers = ("user", "assistant") if source == "messages" else ("human", "gpt")
    turns = [{role: asks, text: "One?"}, {role: answers, text: "skip"} | first]
    turns += [{role: asks, text: "Two?"}, {role: answers, text: "learn"} | second]
    return {"image" if source != "sharegpt" else "images": "a.png", key: turns} | row


def read(folder: Path, source: str, *records: dict[str, Any]) -> list[Row]:
    Image.new("RGB", (40, 30), "red").save(folder / "a.png")
    (folder / "train.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return list(open_source(source).rows("train", folder))


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize(
    "mark",
    [{key: value} for key in ("loss", "train", "training", "train_on_turn", "weight") for value in (False, 0, 0.0)]
    + [{"loss_scale": 0.0}, {"train": "false"}],
    ids=str,
)
def test_an_answer_marked_as_unlearned_is_context(tmp_path: Path, source: str, mark: dict[str, Any]) -> None:
    (key,) = mark
    other = {key: 1 if key in ("weight", "loss_scale") else True}
    first, second, both = read(
        tmp_path,
        source,
        conversation(source, mark, other, system="Be brief."),
        conversation(source, {key: None}, mark),
        conversation(source, other, {}),
    )
    assert isinstance(first, Example) and isinstance(second, Example) and isinstance(both, Example)
    assert (first.context_turns, second.context_turns, both.context_turns) == ((0,), (1,), ())
    assert first.turns == second.turns == both.turns and first.system == "Be brief."


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("loss", 0.5),
        ("weight", 2),
        ("train", [True]),
        ("mask", False),
        ("masked", True),
        ("loss_mask", [0, 1]),
        ("train_detail", [{"begin_offset": 0, "end_offset": 3, "train": False}]),
        ("label", "quality:4"),
        ("reasoning_content", "because red"),
        ("thinking", "hm"),
        ("channel", "analysis"),
        ("prefix", True),
        ("rejected", "no"),
        ("tool_calls", [{"function": {"name": "search"}}]),
    ],
)
def test_a_turn_that_cannot_be_honored_rejects_its_row_by_name(
    tmp_path: Path, source: str, key: str, value: Any
) -> None:
    bad, empty = read(tmp_path, source, conversation(source, {key: value}, {}), conversation(source, {key: None}, {}))
    assert isinstance(bad, Rejected) and bad.reason == "unsupported content" and bad.where.endswith("train.jsonl:1")
    assert isinstance(empty, Example) and (f"{key!r}" in bad.detail or (key == "tool_calls" and "tool" in bad.detail))


@pytest.mark.parametrize("source", [*FORMATS, "table"])
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("label", False),
        ("label", 0),
        ("label", 0.8),
        ("kto_tag", "false"),
        ("loss", False),
        ("train", 0),
        ("weight", 0.5),
        ("loss_mask", [0, 0]),
        ("mask", "User"),
        ("chosen", [{"role": "assistant", "content": "good"}]),
        ("rejected", "bad"),
        ("rejected_response", "bad"),
        ("rejected_messages", [{"role": "assistant", "content": "bad"}]),
        ("videos", ["a.mp4"]),
        ("audio", "a.mp3"),
        ("tools", '[{"name": "search"}]'),
        ("history", [["One?", "1"]]),
    ],
)
def test_a_row_that_cannot_be_honored_is_rejected_by_name(tmp_path: Path, source: str, key: str, value: Any) -> None:
    def row(**more: Any) -> dict[str, Any]:
        if source == "table":
            return {"image": "a.png", "question": "One?", "answer": "1"} | more
        return conversation(source, {}, {}, **more)

    bad, empty, null = read(tmp_path, source, row(**{key: value}), row(**{key: []}), row(**{key: {"a": None}}))
    assert isinstance(bad, Rejected) and bad.reason == "unsupported content" and bad.where.endswith("train.jsonl:1")
    assert f"{key!r}" in bad.detail and isinstance(empty, Example) and isinstance(null, Example)


BOXES = {"ref": ["dog"], "bbox": [[1, 2, 3, 4]]}


@pytest.mark.parametrize("source", FORMATS)
def test_boxes_that_would_not_be_filled_in_reject_the_row(tmp_path: Path, source: str) -> None:
    (bad,) = read(tmp_path, source, conversation(source, {}, {}, objects=BOXES))
    assert isinstance(bad, Rejected) and "'objects'" in bad.detail


def test_boxes_of_a_table_matter_where_its_texts_have_places_for_them(tmp_path: Path) -> None:
    row = {"image": "a.png", "question": "Where is it?", "objects": BOXES}
    bad, detection = read(tmp_path, "table", row | {"answer": "<bbox>"}, row | {"answer": "left"})
    assert isinstance(bad, Rejected) and "'objects'" in bad.detail and isinstance(detection, Example)


@pytest.mark.parametrize("source", FORMATS)
def test_keys_that_change_nothing_are_ignored(tmp_path: Path, source: str) -> None:
    about = {"id": 7, "from": "web", "meta": {"quality": 0}, "label": True, "kto_tag": 1, "score": 0.0, "weight": 1}
    (row,) = read(tmp_path, source, conversation(source, {"name": "bot"}, {"id": 3}, **about))
    assert isinstance(row, Example) and row.context_turns == ()


def test_a_column_that_the_recipe_names_means_what_the_recipe_says(tmp_path: Path) -> None:
    row = {"image": "a.png", "question": "How heavy?", "weight": 70.5, "label": "0"}
    (by_alias,) = read(tmp_path, "table", {"image": "a.png", "question": "Any?", "label": "0"})
    assert isinstance(by_alias, Example) and by_alias.answer == "0"
    read(tmp_path, "table", row)
    columns = {"answer": "label", "category": "weight"}
    (rejected,) = open_source("table").rows("train", tmp_path, columns={"answer": "label"})
    assert isinstance(rejected, Rejected) and "'weight'" in rejected.detail
    (other,) = open_source("table").rows("train", tmp_path, columns=columns)
    assert isinstance(other, Rejected) and "not text" in other.detail  # read as the category, and no mark any more


def test_only_an_answer_can_be_learned(tmp_path: Path) -> None:
    asked = conversation("messages", {}, {})
    asked["messages"][0]["train"] = True
    marked = conversation("messages", {}, {})
    marked["messages"][0]["train"] = False
    bad, good = read(tmp_path, "messages", asked, marked)
    assert isinstance(bad, Rejected) and "'train'" in bad.detail
    assert isinstance(good, Example) and good.context_turns == ()


def test_answers_of_a_prompt_are_context_as_in_trl(tmp_path: Path) -> None:
    turns = conversation("messages", {}, {})["messages"]
    row, both = read(
        tmp_path,
        "messages",
        {"prompt": turns[:3], "completion": turns[3:], "image": "a.png"},
        {"messages": turns, "completion": turns[3:]},
    )
    assert isinstance(row, Example) and row.context_turns == (0,)
    assert isinstance(both, Rejected) and "'messages'" in both.detail and "'completion'" in both.detail


def test_parquet_rows_have_the_same_keys(tmp_path: Path) -> None:
    rows = [
        conversation("messages", {"weight": 0}, {"weight": 1}, rejected=None, chosen=None),
        conversation("messages", {}, {}, rejected="bad"),
        conversation("messages", {}, {}, chosen=[{"content": None}]),
    ]
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.png")
    Dataset.from_list(rows).to_parquet(tmp_path / "train.parquet")
    first, second, third = open_source("parquet").rows("train", tmp_path)
    assert isinstance(first, Example) and first.context_turns == (0,)
    assert isinstance(second, Rejected) and "'rejected'" in second.detail
    assert isinstance(third, Example) and third.context_turns == ()


def example(context_turns: tuple[int, ...]) -> Example:
    earlier = (("first?", "alpha beta"), ("second?", "gamma"))
    images = (Image.new("RGB", (64, 48), "red"),)
    return Example(
        "row", images, "third?", "delta", ("delta",), "open", earlier, where="row", context_turns=context_turns
    )


@pytest.mark.parametrize("context", [(), (0,), (1,), (2,), (0, 2), (0, 1)])
@pytest.mark.parametrize("family", FAMILIES)
def test_labels_cover_exactly_the_learned_answers(family: str, context: tuple[int, ...]) -> None:
    processor = build_processor(tiny_family(family))
    settings = DataSection("mine", prompt="as_written")
    (record,) = RowCheck(processor, settings).records([to_record(example(context), "mine")])
    assert record["reason"] is None
    batch = TrainCollator(processor, "as_written")([record])
    labels = batch["labels"][0]
    end = processor.tokenizer.convert_tokens_to_ids(processor.answer_end)
    runs, run = [], list[int]()
    for token in labels.tolist():
        if token != IGNORED:
            run.append(token)
        if token == end:
            runs.append(processor.tokenizer.decode(run[:-1]).strip())
            run = []
    wanted = [answer for turn, answer in enumerate(("alpha beta", "gamma", "delta")) if turn not in context]
    assert runs == wanted and not run
    assert record["label_tokens"] == int((labels != IGNORED).sum())
    whole = TrainCollator(processor, "as_written")([example(())])
    assert (batch["input_ids"] == whole["input_ids"]).all()  # context is still seen


def test_a_row_without_any_learned_answer_is_rejected() -> None:
    check = RowCheck(build_processor(tiny_family("llava")), DataSection("mine", prompt="as_written"))
    (record,) = check.records([to_record(example((0, 1, 2)), "mine")])
    assert record["reason"] == "nothing learned"


def test_context_is_kept_in_the_prepared_set_and_shown_by_the_preview(tmp_path: Path) -> None:
    processor = build_processor(tiny_family("qwen2_5_vl"))
    read(tmp_path, "messages", conversation("messages", {"weight": 0}, {}))
    settings = DataSection("messages", folder=str(tmp_path), prompt="as_written")
    prepare(settings, processor, tmp_path / "data", progress=False)
    rows, _ = load_prepared(settings, tmp_path / "data")
    shown = Preview(processor)(rows[0])
    text = {kind: "".join(token.text for token in shown.tokens if token.kind == kind) for kind in ("prompt", "answer")}
    assert "skip" in text["prompt"] and "skip" not in text["answer"] and "learn" in text["answer"]
    page = preview_page("mine", processor, [(rows[0], ["by seed"])])
    assert "answer 1 is context" in page.lower()


def test_no_set_of_context_alone_is_trained_on(tmp_path: Path) -> None:
    read(tmp_path, "messages", conversation("messages", {"loss": False}, {"loss": False}))
    settings = DataSection("messages", folder=str(tmp_path), prompt="as_written", max_reject_rate=1.0)
    with pytest.raises(MendableError, match="1 nothing learned"):
        prepare(settings, build_processor(tiny_family("llava")), tmp_path / "data", progress=False)
