"""A quick run of the evaluation's benchmark, and which questions it asks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import evaluation
from data_prep.example import Example


def test_all_questions_about_the_drawn_pictures() -> None:
    rows = [Example(str(n), (Path(f"{n % 5}.png"),), "?", "a", ("a",), "x") for n in range(50)]
    drawn = evaluation.about(rows, 2)
    assert len(drawn) == 20 and len({row.images for row in drawn}) == 2 and drawn == evaluation.about(rows, 2)


@pytest.mark.slow
def test_a_quick_run_gives_a_whole_result(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(evaluation, "SCRATCH", tmp_path / "scratch")
    assert evaluation.main(["--quick", "--out", str(tmp_path)]) == 0
    result = json.loads((tmp_path / "evaluation.json").read_text())
    assert result["equal"] and all(each["equal"] for each in result["rounds"])
    assert result["whole"]["1"]["result"]["answers"] == result["whole"]["2"]["result"]["answers"]
    assert "equal: yes" in evaluation.table(result)
