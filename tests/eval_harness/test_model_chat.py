"""A conversation: pictures before their question, each model in its own context, paths as terminals write them."""

from __future__ import annotations

import pytest
from PIL import Image

from data_prep.chat import messages
from data_prep.example import PICTURE
from data_prep.rows import RowError
from eval_harness.chat import Talk, dropped, named, printable
from mlplora_vlm.errors import MendableError


class Teller:
    """Says its name and how much it was told."""

    def __init__(self, name):
        self.name, self.heard = name, []

    def answers(self, examples, prompt, max_new_tokens, batch_size, description="", progress=True):
        self.heard.append(messages(examples[0], prompt)[:-1])  # raises where signs and pictures do not agree
        if "fail" in examples[0].question:
            raise RowError("control tokens", "no", "row chat")
        yield 0, f"{self.name}{len(examples[0].turns)}"


@pytest.fixture
def pictures(tmp_path):
    for name in ("red.png", "odd name's.png"):
        Image.new("RGB", (5, 4), "red").save(tmp_path / name)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    (tmp_path / "notes.txt").write_text("")
    return tmp_path


def kinds(message):
    return [part["type"] for part in message["content"]]


def test_follow_up_questions_have_the_context_and_each_model_its_own(pictures):
    base, tuned = Teller("base"), Teller("tuned")
    talk = Talk([base, tuned], 9)
    assert talk.show(pictures / "red.png") == (5, 4)
    assert talk.ask("what is it?") == ("base1", "tuned1")
    assert talk.ask("and of what colour?") == ("base2", "tuned2")
    for teller in (base, tuned):
        first, answer, second = teller.heard[-1]
        assert kinds(first) == ["image", "text"] and kinds(second) == ["text"]
        assert answer["content"][0]["text"] == f"{teller.name}1"


def test_a_later_picture_stands_before_its_own_question(pictures):
    teller = Teller("t")
    talk = Talk([teller], 9)
    talk.ask("hello")
    talk.show(pictures / "red.png")
    talk.show(pictures / "odd name's.png")
    talk.ask("which is larger?")
    talk.ask("why?")
    assert [kinds(message) for message in teller.heard[-1]] == [
        ["text"],
        ["text"],
        ["image", "image", "text"],
        ["text"],
        ["text"],
    ]


def test_what_fails_leaves_the_conversation_as_it_was(pictures):
    talk = Talk([Teller("a"), Teller("b")], 9)
    talk.show(pictures / "red.png")
    with pytest.raises(MendableError):
        talk.ask("fail")
    with pytest.raises(RowError, match=r"broken\.png"):
        talk.show(pictures / "broken.png")
    assert talk.ask("what?") == ("a1", "b1") and len(talk.pictures) == 1
    assert kinds(talk.answerers[0].heard[-1][0]) == ["image", "text"]


def test_reset_forgets_everything(pictures):
    talk = Talk([Teller("t")], 9)
    talk.show(pictures / "red.png")
    talk.ask("what?")
    talk.reset()
    assert talk.ask("what?") == ("t1",) and kinds(talk.answerers[0].heard[-1][0]) == ["text"]


def test_a_question_cannot_smuggle_a_picture_sign():
    talk = Talk([Teller("t")], 9)
    assert talk.ask(f"what{PICTURE}?") == ("t1",)


def test_dropped_files_are_found_as_terminals_write_them(pictures):
    plain, odd = pictures / "red.png", pictures / "odd name's.png"
    quoted = str(odd).replace("'", "\\'").replace(" ", "\\ ")
    for line, found in (
        (f"{plain}", ([plain], "")),
        (f"'{plain}' ", ([plain], "")),
        (f'"{odd}" what is it?', ([odd], "what is it?")),
        (f"{quoted} {plain} which one's red?", ([odd, plain], "which one's red?")),
        (f"file://{str(odd).replace(' ', '%20')}", ([odd], "")),
        ("what's red.png?", ([], "what's red.png?")),
        (f"{pictures / 'notes.txt'} what?", ([], f"{pictures / 'notes.txt'} what?")),
        ("/nowhere/red.png what?", ([], "/nowhere/red.png what?")),
        ("x" * 5000 + ".png", ([], "x" * 5000 + ".png")),
        ("'open", ([], "'open")),
        ("", ([], "")),
    ):
        assert dropped(line) == found, line


def test_named_files_need_no_quotes(pictures):
    odd = pictures / "odd name's.png"
    quoted = str(odd).replace("'", "\\'").replace(" ", "\\ ")
    for text in (f" {odd} ", f'"{odd}"', quoted, f"file://{str(odd).replace(' ', '%20')}"):
        assert named(text) == odd
    for text in ("", "nowhere.png", str(pictures)):
        with pytest.raises(MendableError, match="there is no file"):
            named(text)


def test_terminals_are_told_nothing():
    assert printable("a\x1b[31mb\tc\nd\r\x07é") == "a\ufffd[31mb c\nd\ufffd\ufffdé"
