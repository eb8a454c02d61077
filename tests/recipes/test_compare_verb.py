"""`compare` on the command line: two files, a table, refusals without a traceback, pictures joined again."""

from __future__ import annotations

import json

import pytest

from data_prep.rows import strict
from data_prep.sources import open_source
from mlplora_vlm.files import read_json
from recipes.__main__ import main


def write(folder, right, **keys):
    """An evaluation of the drawn shapes' first twenty rows."""
    rows = list(strict(open_source("shapes").rows("test", None)))[:20]
    folder.mkdir(parents=True)
    scores = [float(number % right > 0) for number in range(20)]
    rows_of = {"source": "shapes", "split": "test"}
    result = {
        "task": "shapes_test",
        "version": 1,
        "metric": "exact_match",
        "sample": "all rows",
        "rows": rows_of,
        "scores": {},
    }
    (folder / "result.json").write_text(json.dumps({**result, **keys}))
    (folder / "predictions.jsonl").write_text(
        "".join(
            json.dumps(
                {
                    "id": row.id,
                    "category": row.category,
                    "question": row.question,
                    "references": row.references,
                    "prediction": row.answer if score else "?",
                    "score": score,
                }
            )
            + "\n"
            for row, score in zip(rows, scores, strict=True)
        )
    )
    return str(folder)


def test_two_evaluations(tmp_path, capsys):
    a, b = write(tmp_path / "before", 2), write(tmp_path / "after", 4)
    assert main(["compare", a, b, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "against before" in said and "+25.0 (" in said and "compare.html" in said
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["compare.html", "compare.json"]
    (pair,) = read_json(tmp_path / "out" / "compare.json")["tasks"]["shapes_test"]["comparisons"]
    assert pair["scores"]["overall"]["wins"] == len(pair["changed"]) == 5 and pair["n"] == 20
    page = (tmp_path / "out" / "compare.html").read_text()
    assert "data:image/" in page and "All 20 samples." in page


def test_trained_on_rows_are_counted_and_no_score(tmp_path, capsys):
    a, b = (write(tmp_path / name, right, by_heart=True) for name, right in (("a", 2), ("b", 4)))
    assert main(["compare", a, b, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "10 of 20" in said and "15 of 20" in said and "no score" in said and "75.0" not in said and "+25" not in said


@pytest.mark.parametrize(
    ("keys", "words", "mistake"),
    [
        ({"version": 2}, [], "version: 1 and 2"),
        ({}, ["--data", "shapes_test"], "--data takes TASK=FOLDER"),
    ],
)
def test_mistakes_are_said_without_a_traceback(tmp_path, capsys, keys, words, mistake):
    a, b = write(tmp_path / "a", 2), write(tmp_path / "b", 4, **keys)
    assert main(["compare", a, b, "--out", str(tmp_path / "out"), *words]) == 2
    assert mistake in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_hostile_names_do_nothing_to_the_terminal(tmp_path, capsys):
    a, b = (write(tmp_path / name, 2, model={"name": f"[red]\x1b[2J{name}"}) for name in "ab")
    assert main(["compare", a, b, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "\x1b[2J" not in said and "[red]⟨U+001B⟩" in said
