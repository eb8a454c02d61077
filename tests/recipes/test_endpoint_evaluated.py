"""``python -m recipes evaluate`` of a model behind an endpoint: the same files as of any model, and no key in them."""

from __future__ import annotations

import json

import pytest
from chat_server import chat_server, pictures, question

from eval_harness.api_key import KEYS
from recipes.__main__ import main


@pytest.fixture
def server(monkeypatch):
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    with chat_server() as state:
        yield state


def test_an_endpoint_is_evaluated_like_any_model(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    server.reply = lambda body: "yes"
    words = ["evaluate", f"{server.url}#small", "--tasks", "shapes_test", "--limit", "12", "--out", str(tmp_path)]
    assert main(words) == 0
    (found,) = tmp_path.glob("*/shapes_test/predictions.jsonl")
    rows = [json.loads(line) for line in found.read_text().splitlines()]
    assert len(rows) == 12 == len(server.bodies) and {row["prediction"] for row in rows} == {"yes"}
    assert all(len(pictures(body)) == 1 and "single word or phrase" in question(body) for body in server.bodies)
    result = json.loads(found.with_name("result.json").read_text())
    assert result["scores"]["overall"]["score"] == sum("yes" in row["references"] for row in rows) / 12
    assert set(server.keys) == {"Bearer sk-very-secret"}
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"very-secret" in path.read_bytes()]
    assert "very-secret" not in "".join(capsys.readouterr())
    assert main(words) == 0 and len(server.bodies) == 12  # nothing is asked twice
