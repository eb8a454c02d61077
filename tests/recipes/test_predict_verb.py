"""``python -m recipes predict``: answers out, kept through kill -9, never mixed with another model's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from chat_server import Fault, chat_server, pictures, question
from PIL import Image

from eval_harness.api_key import KEYS
from recipes.__main__ import main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def server(monkeypatch):
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    with chat_server() as state:
        yield state


@pytest.fixture
def rows(tmp_path) -> Path:
    Image.new("RGB", (4, 3), "red").save(tmp_path / "red.png")
    path = tmp_path / "rows.jsonl"
    each = [{"image": "red.png", "question": f"what is {n}?", "id": f"q{n}"} for n in range(20)]
    path.write_text("".join(json.dumps(row) + "\n" for row in each))
    return path


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_answers_go_to_standard_output_in_order_and_what_became_of_the_rows_beside(server, rows, capsys):
    with rows.open("a") as file:
        file.write('{"image": "gone.png", "question": "what?"}\n')
    assert main(["predict", f"{server.url}#small", str(rows), "--batch-size", "3"]) == 1
    out, err = capsys.readouterr()
    found = [json.loads(line) for line in out.splitlines()]
    assert [row["id"] for row in found] == [*(f"q{n}" for n in range(20)), "000020"]
    assert [row["prediction"] for row in found[:-1]] == [f"what is {n}?!" for n in range(20)]
    assert found[-1]["reason"] == "missing picture" and "gone.png" in found[-1]["error"]
    assert "20 rows answered; 1 could not be asked: 1 missing picture" in err


def test_one_question_is_asked_of_pictures(server, rows, capsys):
    picture = str(rows.parent / "red.png")
    words = [
        "predict",
        f"{server.url}#small",
        picture,
        str(rows.parent),
        "--question",
        "colour?",
        "--prompt",
        "short_answer",
    ]
    assert main(words) == 0
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == [picture, f"{picture}#2"]
    body = server.bodies[0]
    assert question(body) == "colour?\nAnswer the question using a single word or phrase." and body["max_tokens"] == 256
    assert pictures(body)[0].getpixel((0, 0)) == (255, 0, 0)


def test_same_command_again_asks_what_is_not_answered(server, rows, capsys):
    out = rows.parent / "answers.jsonl"
    words = ["predict", f"{server.url}#small", str(rows), "--out", str(out)]
    server.fault = lambda body: Fault(400, "too long") if "is 7?" in question(body) else Fault()
    assert main(words) == 1
    assert [row["id"] for row in read(out)] == [f"q{n}" for n in range(20)] and "too long" in read(out)[7]["error"]
    server.fault, asked = lambda body: Fault(), len(server.bodies)
    assert main([*words, "--batch-size", "2"]) == 0
    assert [question(body) for body in server.bodies[asked:]] == ["what is 7?"]
    assert [row["prediction"] for row in read(out)] == [f"what is {n}?!" for n in range(20)]
    assert "20 rows answered, 19 of them before" in capsys.readouterr().err


@pytest.mark.parametrize("change", [["--max-new-tokens", "9"], ["--prompt", "short_answer"], "model"])
def test_another_model_or_option_is_not_mixed_in(server, rows, capsys, change):
    out = rows.parent / "answers.jsonl"
    words = ["predict", f"{server.url}#small", str(rows), "--out", str(out)]
    assert main(words) == 0
    kept = out.read_text()
    if change == "model":
        server.models, change = [{"id": "small", "root": "/another"}], []
    assert main([*words, *change]) == 2
    assert out.read_text() == kept and "another model" in capsys.readouterr().err
    assert main([*words, *change, "--force"]) == 0
    assert [row["id"] for row in read(out)] == [f"q{n}" for n in range(20)] and out.read_text() != kept


def test_what_was_answered_outlives_kill_9(server, rows):
    out, held = rows.parent / "answers.jsonl", threading.Event()
    reached = threading.Event()

    def reply(body):
        if question(body) == "what is 11?" and not held.is_set():
            reached.set()
            held.wait(60)
        return question(body)

    server.reply = reply
    words = ["predict", f"{server.url}#small", str(rows), "--out", str(out), "--batch-size", "1"]
    process = subprocess.Popen([sys.executable, "-m", "recipes", *words], cwd=ROOT, stderr=subprocess.DEVNULL)
    assert reached.wait(120)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    held.set()
    assert [row["id"] for row in read(out)] == [f"q{n}" for n in range(8)]  # a chunk of eight is whole
    with out.open("ab") as file:
        file.write(b'{"id": "q8", "predic')  # as if killed while it wrote
    asked = len(server.bodies)
    assert main(words) == 0
    again = {question(body) for body in server.bodies[asked:]}
    assert not again & {f"what is {n}?" for n in range(8)} and "what is 8?" in again
    assert [row["id"] for row in read(out)] == [f"q{n}" for n in range(20)]


@pytest.mark.slow
def test_a_model_of_this_machine_answers(rows, capsys):
    words = ["predict", "demo/tiny-llava", str(rows), "--max-new-tokens", "3", "--prompt", "short_answer"]
    assert main(words) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(found) == 20 and all(isinstance(row["prediction"], str) for row in found)


@pytest.mark.parametrize("words", [["--batch-size", "0"], ["--max-new-tokens", "0"]])
def test_options_that_cannot_be_are_refused(server, rows, words, capsys):
    assert main(["predict", f"{server.url}#small", str(rows), *words]) == 2
    assert words[0] in capsys.readouterr().err and server.tries == 0
