"""The tables of benchmarks/README.md: written once, then fresh, and never without a place."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest

from benchmarks import readme
from mlplora_vlm.errors import MendableError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "benchmarks.sample", SimpleNamespace(table=lambda result: f"| {result['n']} |\n"))
    (tmp_path / "results").mkdir()
    (tmp_path / "results/sample.json").write_text(json.dumps({"n": 3}))
    (tmp_path / "README.md").write_text("# T\n<!-- sample:begin -->\n<!-- sample:end -->\nThe rest.\n")
    return tmp_path


def test_table_is_written_once_and_then_found_fresh(folder):
    assert readme.update(folder, check=True)
    assert readme.update(folder) and not readme.update(folder, check=True)
    assert (folder / "README.md").read_text() == "# T\n<!-- sample:begin -->\n| 3 |\n<!-- sample:end -->\nThe rest.\n"
    (folder / "results/sample.json").write_text(json.dumps({"n": 4}))
    assert readme.update(folder, check=True)


def test_benchmark_without_a_result_says_how_to_get_one(folder):
    (folder / "results/sample.json").unlink()
    readme.update(folder)
    assert "`python -m benchmarks.sample` makes it" in (folder / "README.md").read_text()


def test_result_without_a_place_is_refused(folder):
    (folder / "README.md").write_text("# T\n")
    with pytest.raises(MendableError, match="sample"):
        readme.update(folder)


def test_every_benchmark_of_the_readme_has_a_module():
    for name in readme.MARK.findall((readme.FOLDER / "README.md").read_text()):
        assert (readme.FOLDER / f"{name}.py").exists(), name
