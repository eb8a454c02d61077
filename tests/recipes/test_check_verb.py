"""`check` and the first stages of a run: the data is counted, and leaks are told, before anything is trained."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mlplora_vlm.files import STAMP, read_json

ROOT = Path(__file__).parents[2]

RECIPE = """
name: mine
model: {{id: demo/tiny-llava, dtype: float32}}
data: {{source: {source}, folder: {folder}, prompt: {prompt}, max_length: 256}}
adapter: {{rank: 2}}
train: {{batch_size: 4, max_steps: 2}}
eval: {{task: shapes_test, controls: []}}
hardware: {{gpus: 0}}
"""


def check(folder: Path, source="shapes", data="null", prompt="short_answer") -> subprocess.CompletedProcess[str]:
    recipe = folder / "mine.yaml"
    recipe.write_text(RECIPE.format(source=source, folder=data, prompt=prompt))
    command = [sys.executable, "-m", "recipes", "check", str(recipe), "--out", str(folder / "out")]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_data_is_checked_and_nothing_else_is_done(tmp_path):
    done = check(tmp_path)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {STAMP, ".lock", ".stages", "data", "resolved.yaml", "run.log"}
    assert {path.name for path in (out / "data").iterdir()} == {
        "prepared.json",
        "rejects.jsonl",
        "report.html",
        "report.json",
        "shapes",
    }
    report = read_json(out / "data" / "report.json")
    assert report["rows"] == 256 and report["left_out"] == {} and report["leaks"] == []
    assert report["sources"]["shapes"]["accepted"] == 256 and report["epoch"]["steps"] == 64
    assert "shapes: 256 of 256 rows can be used" in done.stdout
    assert "[prepare] done before" in check(tmp_path).stdout


@pytest.mark.slow
def test_pictures_of_the_evaluation_are_found_among_the_training_s(tmp_path):
    from data_prep.sources import shapes

    data = tmp_path / "data"
    data.mkdir()
    rows = []
    for number, row in enumerate(list(shapes.rows("test"))[:3]):
        row.images[0].save(data / f"{number}.bmp")
        rows.append({"file_name": f"{number}.bmp", "text": "a shape"})
    (data / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = check(tmp_path, "image_folder", str(data), "caption")
    assert done.returncode == 0, done.stderr
    leaks = read_json(tmp_path / "out" / "data" / "report.json")["leaks"]
    assert len(leaks) == 3 and {leak["evaluation"] for leak in leaks} == {f"shapes/test/00000{n}" for n in range(3)}
    assert "3 pictures of the evaluation are also trained on" in done.stdout


@pytest.mark.slow
def test_too_many_rejects_end_with_the_file_that_names_them(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    rows = [
        {"conversations": [{"from": "human", "value": "hm?"}, {"from": "gpt", "value": "so" * (n % 2)}]}
        for n in range(9)
    ]
    (data / "rows.json").write_text(json.dumps(rows))
    done = check(tmp_path, "llava_conversations", str(data), "as_written")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    said = done.stderr
    assert "55.6% of the rows" in said and "5 empty answer" in said and "rejects.jsonl" in said
    assert len((tmp_path / "out" / "data" / "rejects.jsonl").read_text().splitlines()) == 5
    assert "empty answer" in (tmp_path / "out" / "run.log").read_text()
