"""Our labels are those of TRL's collator with assistant-only loss, for each format that TRL reads.

Two differences, each asserted token for token: after the token that ends an answer nothing is taught, though a template
may mark more (a line break, as TRL's own for Qwen2.5-VL do): generation stops before it.  And that token is always
taught, though a template may leave it out of its ``{% generation %}`` block.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import trl
from PIL import Image
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from data_prep.collate import IGNORED, TrainCollator
from data_prep.demo.tiny import tiny_family
from data_prep.demo.tiny.build import build_processor
from data_prep.sources import messages
from mlplora_vlm.families.processor import FamilyProcessor

TEMPLATE = """\
{%- for message in messages %}
    {{- '<|im_start|>' + message['role'] + '\\n' }}
    {%- if message['role'] == 'assistant' %}
        {%- generation %}
            {%- for part in message['content'] %}{{- part['text'] }}{% endfor %}
            {{- '<|im_end|>' }}
        {%- endgeneration %}
    {%- else %}
        {%- for part in message['content'] %}
            {{- '<image>' if part['type'] == 'image' else part['text'] }}
        {%- endfor %}
        {{- '<|im_end|>' }}
    {%- endif %}
    {{- '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{% endif %}
"""
END_OUTSIDE = TEMPLATE.replace(
    "            {{- '<|im_end|>' }}\n        {%- endgeneration %}",
    "        {%- endgeneration %}\n        {{- '<|im_end|>' }}",
)
OF_TRL = (Path(trl.__file__).parent / "chat_templates/qwen2_5_vl_training.jinja").read_text(encoding="utf-8")


def processor(model_type: str, template: str) -> FamilyProcessor:
    made = build_processor(tiny_family(model_type))
    made.stock.chat_template = template
    return made


LLAVA, OUTSIDE = processor("llava", TEMPLATE), processor("llava", END_OUTSIDE)
QWEN = processor("qwen2_5_vl", OF_TRL)
SLOT = {"type": "image"}


def text(words: str) -> dict:
    return {"type": "text", "text": words}


def picture(path: str) -> dict:
    return {"type": "image", "image": path}


def user(content: Any) -> dict:
    return {"role": "user", "content": content}


def assistant(content: Any) -> dict:
    return {"role": "assistant", "content": content}


SYSTEM = {"role": "system", "content": "Be brief."}
ROWS: dict[str, dict] = {
    "text only": {"messages": [user("why?"), assistant("so")]},
    "text in parts": {"messages": [user([text("why?")]), assistant([text("so")])]},
    "several turns": {"messages": [user("why?"), assistant("so"), user("and now?"), assistant("no no")]},
    "a column of pictures": {"messages": [user("which?"), assistant("red")], "images": ["a.png", "b.png"]},
    "a column and several turns": {
        "messages": [user("which?"), assistant("red"), user("and now?"), assistant("blue")],
        "images": ["a.png"],
    },
    "a column that parts show": {
        "messages": [user([SLOT, text("is it?")]), assistant("red"), user([text("and"), SLOT]), assistant("blue")],
        "images": ["a.png", "b.png"],
    },
    "pictures in parts": {"messages": [user([picture("a.png"), text("is it?")]), assistant("red")]},
    "pictures among text and later": {
        "messages": [
            user([picture("a.png"), text("or "), picture("b.png"), text(" is it?")]),
            assistant("red"),
            user([text("and"), picture("a.png")]),
            assistant([text("bl"), text("ue")]),
        ]
    },
    "a system turn": {"messages": [SYSTEM, user("which?"), assistant("red")], "images": ["b.png"]},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pictures")
    Image.new("RGB", (40, 30), "red").save(made / "a.png")
    Image.new("RGB", (64, 90), "blue").save(made / "b.png")
    return made


def ours(of: FamilyProcessor, row: dict, folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """(input_ids, labels) of the row, each (tokens)."""
    (folder / "train.jsonl").write_text(json.dumps(row), encoding="utf-8")
    [example] = messages.rows("train", folder)
    batch = TrainCollator(of, "as_written")([example])
    tokens = int(batch["attention_mask"][0].sum())
    return batch["input_ids"][0, :tokens], batch["labels"][0, :tokens]


def theirs(of: FamilyProcessor, row: dict, folder: Path, **loss: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """(input_ids, labels) of the row, each (tokens), by TRL, which takes pictures that its trainer has opened."""
    opened = copy.deepcopy(row) | {"images": [Image.open(folder / name) for name in row.get("images", [])]}
    for message in opened.get("messages", []):
        for part in message["content"] if isinstance(message["content"], list) else []:
            if "image" in part:
                part["image"] = Image.open(folder / part["image"])
    batch = DataCollatorForVisionLanguageModeling(of.stock, **loss)([opened])
    return batch["input_ids"][0], batch["labels"][0]


def end_of(of: FamilyProcessor) -> int:
    return of.tokenizer.convert_tokens_to_ids(of.answer_end)


def break_of(of: FamilyProcessor) -> int:
    [token] = of.tokenizer("\n")["input_ids"]
    return token


@pytest.mark.parametrize("name", ROWS)
def test_labels_are_trls(name: str, folder: Path) -> None:
    (ids, labels), (their_ids, their_labels) = (
        ours(LLAVA, ROWS[name], folder),
        theirs(LLAVA, ROWS[name], folder, assistant_only_loss=True),
    )
    assert their_ids[len(ids) :].tolist() == [break_of(LLAVA)]  # we end where generation does: with the last answer
    assert torch.equal(ids, their_ids[:-1])
    assert torch.equal(labels, their_labels[:-1]) and their_labels[-1] == IGNORED
    answers = sum(message["role"] == "assistant" for message in ROWS[name]["messages"])
    assert int((labels == end_of(LLAVA)).sum()) == answers


@pytest.mark.parametrize("name", ROWS)
def test_the_line_break_that_trls_own_template_marks_after_an_answer_is_not_taught(name: str, folder: Path) -> None:
    (ids, labels), (their_ids, their_labels) = (
        ours(QWEN, ROWS[name], folder),
        theirs(QWEN, ROWS[name], folder, assistant_only_loss=True),
    )
    assert torch.equal(ids, their_ids[:-1])
    ends = (their_labels == end_of(QWEN)).nonzero()[:, 0]
    assert len(ends) and (their_labels[ends + 1] == break_of(QWEN)).all()
    their_labels[ends + 1] = IGNORED
    assert torch.equal(labels, their_labels[:-1])


@pytest.mark.parametrize("name", ROWS)
def test_the_end_of_an_answer_is_taught_where_the_template_leaves_it_unmarked(name: str, folder: Path) -> None:
    (ids, labels), (their_ids, their_labels) = (
        ours(OUTSIDE, ROWS[name], folder),
        theirs(OUTSIDE, ROWS[name], folder, assistant_only_loss=True),
    )
    assert torch.equal(ids, their_ids[:-1])
    ends = (labels == end_of(OUTSIDE)).nonzero()[:, 0]
    assert len(ends) and (their_labels[ends] == IGNORED).all() and (their_labels[ends - 1] != IGNORED).all()
    labels[ends] = IGNORED
    assert torch.equal(labels, their_labels[:-1])


def test_white_space_around_questions_and_answers_is_taken_off_and_the_rest_is_the_same(folder: Path) -> None:
    def row(space: str) -> dict:
        question = [picture("a.png"), text(f"{space}is it?{space}"), picture("b.png")]
        return {"messages": [user(question), assistant(f"{space}red{space}")]}

    ids, labels = ours(LLAVA, row(" "), folder)
    their_ids, their_labels = theirs(LLAVA, row(""), folder, assistant_only_loss=True)
    assert torch.equal(ids, their_ids[:-1]) and torch.equal(labels, their_labels[:-1])
    _, spaced = theirs(LLAVA, row(" "), folder, assistant_only_loss=True)
    assert LLAVA.tokenizer.decode(spaced[spaced != IGNORED]) == " red <|im_end|>"


PROMPTS = {
    "text only": {"prompt": [user("why?")]},
    "a column of pictures": {"prompt": [user("which?")], "images": ["a.png", "b.png"]},
    "a column that parts show": {"prompt": [user([SLOT, text("is it?")])], "images": ["a.png"]},
    "a system turn": {"prompt": [SYSTEM, user("which?")], "images": ["b.png"]},
}


@pytest.mark.parametrize("of", [LLAVA, QWEN], ids=["llava", "qwen2_5_vl"])
@pytest.mark.parametrize("name", PROMPTS)
def test_completions_are_labelled_as_trl_does_but_for_the_line_break_after_them(
    of: FamilyProcessor, name: str, folder: Path
) -> None:
    row = PROMPTS[name] | {"completion": [assistant("red")]}
    ids, labels = ours(of, row, folder)
    their_ids, their_labels = theirs(of, row, folder, completion_only_loss=True)
    assert torch.equal(ids, their_ids[:-1]) and torch.equal(labels, their_labels[:-1])
    assert their_labels[-1] == break_of(of)  # all that follows the prompt counts as the completion
    assert of.tokenizer.decode(labels[labels != IGNORED]) == "red<|im_end|>"


def test_answers_within_a_prompt_are_context_as_in_trl(folder: Path) -> None:
    row = {"prompt": [user("which?"), assistant("red"), user("and now?")], "completion": [assistant("blue")]}
    row |= {"images": ["a.png"]}
    ids, labels = ours(LLAVA, row, folder)
    their_ids, their_labels = theirs(LLAVA, row, folder, completion_only_loss=True)
    assert torch.equal(ids, their_ids[:-1])
    assert torch.equal(labels, their_labels[:-1])
    assert LLAVA.tokenizer.decode(labels[labels != IGNORED]) == "blue<|im_end|>"
