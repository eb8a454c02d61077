"""The report: hostile text stays text, one self-contained file, missing keys tolerated, layout in a real browser."""

from __future__ import annotations

import dataclasses
import html
import json
import re

import pytest
from fake_result import fake_gallery, fake_result

from data_prep.html import page
from eval_harness.gallery import Answer
from eval_harness.report import write_report

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


def gallery_data(text):
    """What the page's gallery is drawn from."""
    return json.loads(re.search(r'<script type="application/json" id="gallery-data">(.*?)</script>', text)[1])


def hostile(tree):
    """The same tree with every string replaced."""
    if isinstance(tree, dict):
        return {f"{key}{HOSTILE}" if key in ("open", "torch") else key: hostile(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [hostile(value) for value in tree]
    return HOSTILE if isinstance(tree, str) else tree


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return write_report(tmp_path_factory.mktemp("out"), fake_result(), *fake_gallery())


def test_report_has_every_part(report):
    text = report.read_text()
    assert [path.name for path in report.parent.iterdir()] == ["report.html"]
    assert len(gallery_data(text)["rows"]) == 24
    for part in ("scores", "training-curve", "answers", "proof", "facts", "environment"):
        assert f'<section id="{part}">' in text
    for words in (
        "bash recipes/llava_vqa.sh --preset demo",
        "2026-03-01 09:12",
        "94.2\u00a0%",
        "92.2–96.2",
        "answer prior",
        "1.3e-7",
        "8\u00a0min\u00a012\u00a0s",
    ):
        assert words in html.unescape(text), words


def test_report_asks_for_nothing_outside(report):
    text = report.read_text()
    assert not re.findall(r"https?://|url\(|@import", text)
    assert all(address.startswith("data:") for address in re.findall(r'(?:src|href|action)="([^"]*)"', text))


def test_hostile_text_stays_text(tmp_path, tab):
    gallery, pictures = fake_gallery(3)
    gallery = [
        dataclasses.replace(
            sample,
            id=f"{HOSTILE}{number}",
            question=HOSTILE,
            category=HOSTILE,
            references=(HOSTILE,),
            answers=(Answer(HOSTILE, 0.0), Answer(HOSTILE, 1.0)),
        )
        for number, sample in enumerate(gallery)
    ]
    text = write_report(tmp_path, hostile(fake_result()), gallery, pictures).read_text()
    assert re.findall(r"<script[^>]*>", text) == ['<script type="application/json" id="gallery-data">', "<script>"]
    assert not re.search(r"<[^>]*\sonerror=", re.sub(r'"[^"]*"', "", text))
    tab.open(tmp_path / "report.html")
    assert tab.run("return document.title") != "owned" and tab.complaints == []
    assert tab.run("return document.querySelector('.shown').textContent") == "3 of 3 shown"
    assert tab.run("return document.querySelector('.card .question').textContent") == HOSTILE


def test_policy_stops_a_script_that_got_into_the_page(tmp_path, dump_dom):
    leaky = page("title", "LEAK").replace("LEAK", HOSTILE)
    (tmp_path / "leaky.html").write_text(leaky)
    assert "<title>title</title>" in dump_dom(tmp_path / "leaky.html", "")


@pytest.mark.parametrize("key", sorted(fake_result()))
@pytest.mark.parametrize("value", ["missing", None])
def test_missing_key_is_tolerated(tmp_path, key, value):
    result = fake_result()
    del result[key]
    if value is None:
        result[key] = None
    text = write_report(tmp_path, result, *fake_gallery(2)).read_text()
    assert len(gallery_data(text)["rows"]) == 2


def test_leaf_that_was_not_measured_is_tolerated(tmp_path):
    def emptied(tree):
        return {key: emptied(value) if isinstance(value, dict) else None for key, value in tree.items()}

    assert write_report(tmp_path, emptied(fake_result()), [], {}).exists()
    assert write_report(tmp_path, {}, [], {}).exists()


@pytest.mark.parametrize(("status", "sign"), [("looks", "✓"), ("does not look", "✗"), ("not judged", "○")])
def test_verdict_is_said_and_signed(tmp_path, status, sign):
    result = fake_result() | {"verdict": {"status": status, "sentence": "A sentence."}}
    assert (
        f'<span aria-hidden="true">{sign}</span> {status}</span>' in write_report(tmp_path, result, [], {}).read_text()
    )


def test_the_command_for_all_answers_is_said(tmp_path):
    text = write_report(
        tmp_path, fake_result(), *fake_gallery(2), everything="python -m recipes compare a b"
    ).read_text()
    assert '<code id="all-answers" tabindex="0">python -m recipes compare a b</code>' in text


@pytest.mark.parametrize("width", [360, 390, 1280])
def test_page_never_scrolls_sideways(tmp_path, tab, width):
    result = fake_result()
    result["recipe"]["command"] += " section.key=value" * 20
    result["verdict"]["sentence"] = "x" * 300
    gallery, pictures = fake_gallery(4)
    gallery = [dataclasses.replace(one, answers=(Answer("y" * 300, 0.0), Answer("y", 1.0))) for one in gallery]
    tab.open(write_report(tmp_path, result, gallery, pictures), width)
    tab.run("for (const part of document.querySelectorAll('details')) part.open = true;")
    assert tab.run("return [innerWidth, document.scrollingElement.scrollWidth]") == [width, width]
    assert tab.complaints == []
