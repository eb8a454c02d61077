"""``python -m recipes chat``: piped conversations, two models side by side."""

from __future__ import annotations

import io

import pytest
from chat_server import Fault, chat_server, pictures, question
from PIL import Image

from eval_harness.api_key import KEYS
from recipes.__main__ import main


@pytest.fixture
def server(monkeypatch):
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    with chat_server() as state:
        yield state


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "red one.png"
    Image.new("RGB", (5, 4), "red").save(path)
    return path


def talk(monkeypatch, capsys, words, *lines):
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
    code = main(["chat", *words])
    return code, capsys.readouterr().out


def test_a_piped_conversation_is_answered_line_by_line(server, picture, monkeypatch, capsys):
    server.reply = lambda body: f"{question(body)} {len(body['messages'])} {len(pictures(body))}"
    lines = (f"/picture {picture}", "what is it?", "", "what colour?", "/reset", "who are you?", "/quit", "never asked")
    code, out = talk(monkeypatch, capsys, [f"{server.url}#small"], *lines)
    assert code == 0 and out.splitlines() == [
        "[red one.png, 5 x 4 pixels]",
        "what is it? 1 1",
        "what colour? 3 1",
        "nothing was shown or said",
        "who are you? 1 0",
    ]


def test_two_models_stand_side_by_side_in_their_own_contexts(server, picture, monkeypatch, capsys):
    server.models = [{"id": "base"}, {"id": "tuned"}]

    def reply(body):
        said = [message["content"] for message in body["messages"] if message["role"] == "assistant"]
        return f"{body['model']} after {said}"

    server.reply = reply
    words = [f"{server.url}#base", f"{server.url}#tuned"]
    code, out = talk(monkeypatch, capsys, words, f'"{picture}" what?', "and now?")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")]
    assert code == 0 and rows == [
        ["base after []", "tuned after []"],
        ["base after ['base after []']", "tuned after ['tuned after []']"],
    ]
    assert [[cell.strip() for cell in line.split("┃")[1:-1]] for line in out.splitlines() if line.startswith("┃")] == [
        ["base", "tuned"]
    ] * 2


def test_mistakes_are_said_and_the_talk_goes_on(server, picture, monkeypatch, capsys):
    server.faults.append(Fault(400, "too long"))
    lines = ("/pictur x", "/picture nowhere.png", "first", "second", "/help")
    code, out = talk(monkeypatch, capsys, [f"{server.url}#small"], *lines)
    assert code == 2 and "did you mean '/picture'?" in out and "there is no file 'nowhere.png'" in out
    assert "(400): too long" in out and "second!" in out and "/reset " in out
    assert len(server.bodies[-1]["messages"]) == 1  # what failed is not remembered


def test_answers_cannot_command_the_terminal_nor_rich(server, monkeypatch, capsys):
    server.reply = lambda body: "\x1b[2J[bold]x[/bold] :smile:"
    _, out = talk(monkeypatch, capsys, [f"{server.url}#small"], "what?")
    assert "\x1b" not in out and "[bold]x[/bold] :smile:" in out
