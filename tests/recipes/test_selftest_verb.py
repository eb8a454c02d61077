"""The selftest is a line a check, whatever the check does: it passes, is too far off, crashes, hangs or cannot run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlplora_vlm.errors import MendableError
from mlplora_vlm.files import read_json
from recipes import self_checks
from recipes.__main__ import main
from recipes.verbs import selftest

FIGURES = {
    "good": "print('selftest-figure: 1e-05')",
    "far": "print('selftest-figure: 0.5')",
    "nan": "print('selftest-figure: nan')",
    "silent": "pass",
    "crash": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
    "raise": "raise RuntimeError('no kernel image is available')",
    "hang": "import time; time.sleep(60)",
}


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, self_checks.Check]]:
    """Checks whose processes are a line of Python each, and two that cannot run here."""
    made = {name: self_checks.Check(name, 1e-3, lambda: 0.0) for name in FIGURES}
    made["elsewhere"] = self_checks.Check("elsewhere", 1.0, lambda: 0.0, needs_gpu="a kernel")
    made["not there"] = self_checks.Check("not there", 1.0, lambda: 0.0, package="no_such_package_at_all")
    monkeypatch.setattr(self_checks, "CHECKS", made)
    whole = selftest.finished

    def finished(command: list[str], seconds: float) -> tuple[int | None, str, str]:
        return whole([sys.executable, "-c", FIGURES[command[-1]]], seconds)

    monkeypatch.setattr(selftest, "finished", finished)
    monkeypatch.setattr(self_checks, "best_device", lambda: "cpu")
    yield made


def test_every_end_is_a_line_of_the_report(checks: dict[str, self_checks.Check], tmp_path: Path) -> None:
    assert main(["selftest", "--out", str(tmp_path), "--each", "3"]) == 1
    report = read_json(tmp_path / "selftest.json")
    found = {row["check"]: row for row in report["checks"]}
    assert list(found) == list(checks)
    results = {name: row["result"] for name, row in found.items()}
    assert results == {
        "good": "passed", "far": "failed", "nan": "failed", "silent": "failed", "crash": "failed", "raise": "failed",
        "hang": "failed", "elsewhere": "not run", "not there": "not run",
    }  # fmt: skip
    assert "above" in found["far"]["why"] and found["far"]["figure"] == 0.5
    assert "no kernel image" in found["raise"]["why"] and "not done after 3 s" in found["hang"]["why"]
    assert found["elsewhere"]["why"] == "no CUDA device: a kernel" and "not installed" in found["not there"]["why"]
    assert report["environment"]["versions"]["torch"]
    text = (tmp_path / "selftest.txt").read_text()
    assert all(name in text for name in checks) and str(tmp_path) not in text


def test_what_is_asked_for_alone_runs_alone(checks: dict[str, self_checks.Check], tmp_path: Path) -> None:
    assert main(["selftest", "--out", str(tmp_path), "--only", "good", "elsewhere"]) == 0
    assert [row["check"] for row in read_json(tmp_path / "selftest.json")["checks"]] == ["good", "elsewhere"]
    assert main(["selftest", "--out", str(tmp_path), "--only", "goood"]) == 2
    assert main(["selftest", "--out", str(tmp_path), "--minutes", "0", "--only", "good"]) == 0
    [late] = read_json(tmp_path / "selftest.json")["checks"]
    assert (late["result"], late["why"]) == ("not run", "0 minutes are over")


def test_an_unknown_check_is_named() -> None:
    import argparse

    with pytest.raises(MendableError, match=r"no check 'ZeRO-9' \(did you mean 'ZeRO-\d'"):
        selftest.run(argparse.Namespace(only=["ZeRO-9"], one=None, list=False))


@pytest.mark.slow
def test_the_real_checks_pass_here(tmp_path: Path) -> None:
    names = ["fp32", "8-bit moments", "int8", "FP4", "ZeRO-2, NF4"]
    main(["selftest", "--out", str(tmp_path), "--each", "300", "--minutes", "30", "--only", *names])
    rows = read_json(tmp_path / "selftest.json")["checks"]
    assert {row["check"]: row["result"] for row in rows} == dict.fromkeys(names, "passed"), rows
    assert [row.get("ranks") for row in rows][-1] >= 1
