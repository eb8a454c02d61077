"""The command that a result records repeats the run: read by a shell, it means the same."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest

from recipes.__main__ import _parser
from recipes.command_line import run_command
from recipes.launch import NODE_VARIABLES
from recipes.recipe import load_recipe

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    monkeypatch.chdir(ROOT)
    for name in (*NODE_VARIABLES, "PRESET", "OUT"):
        monkeypatch.delenv(name, raising=False)


def recorded(*words: str) -> tuple[str, dict[str, object]]:
    """The command of a run with these words, and what the words mean."""
    given, rest = _parser().parse_known_args(["run", *words])
    given.overrides += rest
    meaning = {key: value for key, value in vars(given).items() if key != "verb"}
    return run_command(given, load_recipe(given.recipe, given.preset, given.overrides)), meaning


def again(command: str) -> dict[str, object]:
    """What the recorded command means, the shell file's own words left to `recipes run`."""
    words = shlex.split(command)
    words = [word for word in words if not word.startswith(tuple(f"{name}=" for name in NODE_VARIABLES))]
    if words[0] == "bash":
        name = Path(words[1])
        assert name.is_file()
        words = [str(name.with_suffix(".yaml")), *words[2:]]
    else:
        assert words[:4] == ["python", "-m", "recipes", "run"]
        words = words[4:]
    return recorded(*words)[1]


RECIPE = "recipes/llava_vqa.yaml"


@pytest.mark.parametrize(
    "words",
    [
        [RECIPE, "--preset", "smoke"],
        [RECIPE, "--preset", "smoke", "--out", "out/with space", "data.folder=/my data/it's", "train.seed=3"],
        [RECIPE, "--preset", "smoke", "--from", "train", "--force"],
        [RECIPE, "--preset", "smoke", "--only", "merge", "eval.judge=$HOME; ls"],
    ],
)
def test_the_recorded_command_means_what_was_run(words):
    command, meaning = recorded(*words)
    assert command.startswith("bash recipes/llava_vqa.sh ")
    assert again(command) == meaning


def test_the_variables_of_the_environment_are_in_it(monkeypatch):
    monkeypatch.setenv("PRESET", "smoke")
    monkeypatch.setenv("OUT", "out/my run")
    command, meaning = recorded(RECIPE)
    monkeypatch.delenv("PRESET")
    monkeypatch.delenv("OUT")
    assert again(command) == meaning and meaning["out"] == Path("out/my run")
    monkeypatch.setenv("NNODES", "2")
    monkeypatch.setenv("MASTER_ADDR", "node 0")
    assert shlex.split(recorded(RECIPE, "--preset", "smoke")[0])[:2] == ["NNODES=2", "MASTER_ADDR=node 0"]


def test_a_recipe_of_ones_own_is_named_by_its_path(tmp_path):
    own = tmp_path / "my recipes" / "llava_vqa.yaml"
    own.parent.mkdir()
    shutil.copy(ROOT / RECIPE, own)
    command, meaning = recorded(str(own), "--preset", "smoke")
    assert again(command) == meaning and meaning["recipe"] == own
