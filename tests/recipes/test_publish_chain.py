"""The whole chain up to a hub on this machine, and what a verification that fails keeps from it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import TOKEN, serve
from safetensors.torch import load_file, save

from eval_harness.predictions import read_rows

ROOT = Path(__file__).parents[2]
QUICK = (
    *("train.max_steps=8", "train.batch_size=4", "train.save_steps=8", "data.split=train", "eval.task=shapes_test"),
    *("eval.limit=4", "eval.batch_size=4", "eval.controls=[]"),
)
pytestmark = pytest.mark.slow


def test_the_chain_ends_on_the_hub_and_a_failed_verification_never_gets_there(tmp_path):
    out = tmp_path / "out"
    own = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    with serve() as hub:
        environment = own | {
            **{"MLPLORA_PYTHON": sys.executable, "PRESET": "smoke", "OUT": str(out), "OMP_NUM_THREADS": "1"},
            **{"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"},
        }

        def run(*words, expect=0, **more):
            command = ["bash", "recipes/llava_vqa.sh", *QUICK, "publish.to=me/tiny", *words]
            done = subprocess.run(
                command, cwd=ROOT, env=environment | more, capture_output=True, text=True, timeout=600, check=False
            )
            assert done.returncode == expect, done.stdout[-3000:] + done.stderr[-3000:]
            assert TOKEN not in done.stdout + done.stderr
            return done.stdout + done.stderr

        assert "no token to write to it" in run(expect=2) and not (out / "data").exists(), "found before the training"
        hub.asked.clear()
        printed = run(HF_TOKEN=TOKEN)
        assert printed.index("[verify] done") < printed.index("[report] done") < printed.index("[publish] done")
        for kind, repo in (("merged", "me/tiny"), ("adapter", "me/tiny-adapter")):
            there = hub.files(repo)
            assert "of no use but to test" not in there.pop("README.md").decode(), "these rows were not learnt by heart"
            assert there == {path.name: path.read_bytes() for path in (out / kind).iterdir()}
        assert TOKEN not in (out / "run.log").read_text()

        answers = {row["id"]: row["prediction"] for row in read_rows(out / "eval" / "after" / "predictions.jsonl")}
        words = ["evaluate", "me/tiny", "me/tiny-adapter", "--tasks", "shapes_test", "--dtype", "float32"]
        command = [sys.executable, "-m", "recipes", *words, "--out", str(tmp_path / "again")]
        fresh = environment | {"HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "elsewhere")}
        subprocess.run(command, cwd=ROOT, env=fresh, timeout=600, check=True)
        for name in ("me-tiny", "me-tiny-adapter"):
            again = read_rows(tmp_path / "again" / name / "shapes_test" / "predictions.jsonl")
            assert answers.items() <= {row["id"]: row["prediction"] for row in again}.items(), "loaded from the hub"

        hub.asked.clear()
        assert "[publish] done before" in run(HF_TOKEN=TOKEN) and not hub.writes()

        for told, file, content in tampered(out / "merged"):
            kept = file.read_bytes()
            file.write_bytes(content)
            said = run("--from", "verify", expect=2, HF_TOKEN=TOKEN)
            assert told in said and "nothing has been published" in said
            file.write_bytes(kept)
        push = [sys.executable, "-m", "recipes", "push", str(out)]
        done = subprocess.run(push, cwd=ROOT, env=environment | {"HF_TOKEN": TOKEN}, capture_output=True, text=True)
        assert done.returncode == 2 and "was not verified" in done.stderr
        assert not hub.writes(), "the hub received nothing"


def tampered(merged):
    """(what verify must say, a file of ``merged``, its content after somebody's mistake): one mistake each."""
    from data_prep.demo.models import model_path

    weights, template, settings = (
        merged / name for name in ("model.safetensors", "chat_template.jinja", "processor_config.json")
    )
    base, tensors = load_file(Path(model_path("demo/tiny-llava")) / weights.name), load_file(weights)
    wrong = next(name for name in tensors if name.endswith("q_proj.weight") and "language" in name)
    yield wrong, weights, save({**tensors, wrong: tensors[wrong] * 1.5}, {"format": "pt"})
    untuned = {name: tensor for name, tensor in base.items() if "projector" in name and name.endswith("weight")}
    yield min(untuned), weights, save(tensors | untuned, {"format": "pt"})
    yield "the chat template", template, b"Dear model! " + template.read_bytes()
    pictures = json.loads(settings.read_text())
    pictures["image_processor"]["size"] = {"height": 56, "width": 56}
    yield "the picture settings (size", settings, json.dumps(pictures).encode()
