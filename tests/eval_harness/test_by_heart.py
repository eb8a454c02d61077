"""Rows that were trained on: their answers are counted as learnt by heart wherever they are shown, never as a score."""

from __future__ import annotations

import html
import re

from fake_result import fake_gallery, fake_result

from data_prep.demo.tiny import tiny_family
from data_prep.demo.tiny.build import build_model, build_processor
from eval_harness.evaluate import evaluate
from eval_harness.local_model import LocalModel
from eval_harness.report import report_view, write_report
from eval_harness.section import EvalSection
from eval_harness.verdict import verdict


def summary(right: int, **controls: int) -> dict:
    def scores(count: int) -> dict:
        return {"overall": {"score": count / 16, "low": 0.0, "high": 1.0, "n": 16}}

    return {
        "by_heart": True,
        "scores": scores(right),
        "controls": {name: scores(count) for name, count in controls.items()},
    }


def result(before: int, after: dict) -> dict:
    whole = fake_result()
    for when, part in (("before", summary(before)), ("after", after)):
        whole["scores"][when] |= part
    return whole | {"verdict": verdict(after, "open")}


def test_the_verdict_counts_and_judges_nothing() -> None:
    found = verdict(summary(16, blank=8, prior=7), "open")
    assert found["status"] == "by heart"
    assert "16 of 16 questions that were trained on" in found["sentence"]
    assert "with blank pictures 8 of 16, with the training answers alone 7 of 16" in found["sentence"]
    assert "no score" in found["sentence"] and "%" not in found["sentence"]
    assert "right." in verdict(summary(3), None)["sentence"]


def test_an_evaluation_says_that_its_rows_were_trained_on(tmp_path) -> None:
    row = tiny_family("llava")
    processor = build_processor(row)
    settings = EvalSection(task="shapes_sixteen", controls=("prior",))
    tiny = LocalModel(build_model(row, processor), processor, "tiny")
    found = evaluate(tiny, settings, tmp_path)
    assert found["by_heart"] and (found["n"], found["sample"]) == (16, "all rows")
    assert found["controls"]["prior"]["overall"]["score"] == 0.5  # the questions alone give half of it away
    assert verdict(found, None)["status"] == "by heart"
    other = evaluate(tiny, EvalSection(task="shapes_test", limit=2), tmp_path, False)
    assert not other["by_heart"]


def test_other_tasks_are_judged_as_before() -> None:
    plain = summary(16, blank=8) | {"by_heart": False}
    assert (
        verdict(plain, None)["status"] == verdict({k: v for k, v in plain.items() if k != "by_heart"}, None)["status"]
    )
    assert verdict(plain, None)["status"] == "not judged"


def test_the_report_shows_no_score(tmp_path) -> None:
    whole = result(1, summary(15, blank=8))
    view = report_view(whole, [], {})
    assert view["scores"] is None and view["verdict"][0] == "by heart"
    assert view["tiles"][0] == {"label": "By heart, no score", "value": "15 of 16", "note": "before 1 of 16"}
    text = html.unescape(write_report(tmp_path, whole, *fake_gallery(4)).read_text())
    assert '<section id="scores">' not in text and "held-out questions" not in text
    assert "4 trained-on questions" in text and "15 of 16" in text
    header = re.search(r"<header.*?</header>", text, re.DOTALL)[0]
    assert "%" not in header
    assert '<section id="scores">' in write_report(tmp_path, fake_result(), [], {}).read_text()
