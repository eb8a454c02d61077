"""``python -m recipes.smoke``: runs each recipe's shell file, and only a run that knows all of its rows passes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from recipes import smoke

SHELL = """#!/usr/bin/env bash
mkdir -p "$OUT" && cp "$(dirname "$0")/$PRESET.json" "$OUT/result.json" && printf '%s ' "$@" >"$OUT/arguments"
exit ${FAILS:-0}
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with two recipes; the second has no smoke preset."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    for name, preset in (("one", "smoke"), ("two", "lora-80gb")):
        (folder / f"{name}.yaml").write_text(f"name: {name}\npresets: {{{preset}: {{}}}}\n")
        (folder / f"{name}.sh").write_text(SHELL)
    monkeypatch.setattr(smoke, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def result(root: Path, right: int, by_heart: bool = True) -> None:
    after: dict[str, Any] = {"by_heart": by_heart, "scores": {"overall": {"score": right / 16, "n": 16}}}
    verify = {"collapse_error": 0.0, "merge_error": 5e-7}
    whole = {"scores": {"after": after}, "verify": verify, "seconds": {"train": 40.0, "merge": 2.0}}
    (root / "recipes/smoke.json").write_text(json.dumps(whole))


def test_a_row_a_recipe_and_success_where_all_is_known(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    result(root, 16)
    assert smoke.main([]) == 0
    row = capfd.readouterr().out.replace("\u00a0", " ")
    assert "one" in row and "16 of 16" in row and "42 s" in row and "5e-7" in row and "two" not in row
    assert (root / "out/one-smoke/arguments").read_text() == "--force "


@pytest.mark.parametrize(("right", "by_heart"), [(15, True), (16, False)])
def test_anything_less_fails(root: Path, right: int, by_heart: bool) -> None:
    result(root, right, by_heart)
    assert smoke.main(["one", "--out", str(root / "elsewhere")]) == 1
    assert (root / "elsewhere/one-smoke/result.json").is_file()


def test_a_broken_run_fails_even_beside_an_old_result(
    root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    result(root, 16)
    monkeypatch.setitem(os.environ, "FAILS", "2")
    assert smoke.main([]) == 1
    assert "failed" in capfd.readouterr().out
