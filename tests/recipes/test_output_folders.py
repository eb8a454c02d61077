"""Every command with an output folder refuses one that holds something else, before it writes or removes anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import files_below
from recipes.__main__ import main

RECIPE = str(Path(__file__).parents[2] / "recipes" / "llava_vqa.yaml")
SMOKE = [RECIPE, "--preset", "smoke"]
COMMANDS = {
    "run": ["run", *SMOKE],
    "run --force": ["run", *SMOKE, "--force"],
    "check": ["check", *SMOKE],
    "preview": ["preview", *SMOKE],
    "sweep": ["sweep", *SMOKE, "--lr", "1e-3", "--kind", "lora", "train.eval_rows=4"],
    "selftest": ["selftest"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_with_other_things_is_refused_untouched(command, tmp_path, monkeypatch, capsys):
    for name in ("data/vqav2/rows.json", "train/notes.txt", "adapter/weights", "merged/weights", "eval/scores"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("mine")
    before = {name: (tmp_path / name).read_text() for name in files_below(tmp_path)}
    monkeypatch.chdir(tmp_path)
    assert main([*COMMANDS[command], "--out", "."]) == 2
    message = capsys.readouterr().err
    assert "adapter, data, eval, merged" in message and "--out" in message
    assert {name: (tmp_path / name).read_text() for name in files_below(tmp_path)} == before


def test_a_cached_model_does_not_replace_a_folder_of_the_user(tmp_path, monkeypatch):
    from data_prep.demo.folder_cache import cached_folder

    monkeypatch.setenv("MLPLORA_CACHE", str(tmp_path))
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "weights").write_text("mine")
    with pytest.raises(MendableError, match="weights"):
        cached_folder("tiny", {"package": "1"}, lambda folder: None, 1)
    assert (tmp_path / "tiny" / "weights").read_text() == "mine"
