"""The report: hostile text stays text, one self-contained file, filters and layout in a real browser."""

from __future__ import annotations

import dataclasses
import html
import json
import re

import pytest
from fake_result import fake_gallery, fake_result

from data_prep.html import page
from eval_harness.report import write_report

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
CARD = r'<li class="card panel"[^>]*>'


def hostile(tree):
    """The same tree with every string replaced."""
    if isinstance(tree, dict):
        return {f"{key}{HOSTILE}" if key in ("open", "torch") else key: hostile(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [hostile(value) for value in tree]
    return HOSTILE if isinstance(tree, str) else tree


def driven(dump_dom, folder, width, script):
    """Opens report.html in a frame ``width`` pixels wide, runs ``script`` on its document ``page``."""
    frame = folder / "frame.html"
    frame.write_text(
        f"""<iframe src="report.html" style="width:{width}px;height:800px;border:0"></iframe><pre></pre><script>
        onload = () => {{
          const page = frames[0].document;
          let value;
          try {{ value = (() => {{ {script} }})(); }} catch (error) {{ value = String(error); }}
          document.querySelector("pre").textContent = JSON.stringify(value);
        }}</script>"""
    )
    return json.loads(html.unescape(re.search(r"<pre>(.*?)</pre>", dump_dom(frame, ""), re.DOTALL)[1]))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return write_report(tmp_path_factory.mktemp("out"), fake_result(), fake_gallery())


def test_report_has_every_part(report):
    text = report.read_text()
    assert [path.name for path in report.parent.iterdir() if path.name != "frame.html"] == ["report.html"]
    assert len(re.findall(CARD, text)) == 24
    for part in ("scores", "training-curve", "answers", "proof", "facts", "environment"):
        assert f'<section id="{part}">' in text
    for words in (
        "PRESET=demo bash recipes/llava_vqa.sh",
        "94.2\u00a0%",
        "92.2–96.2",
        "answer prior",
        "1.3e-7",
        "8\u00a0min\u00a012\u00a0s",
    ):
        assert words in html.unescape(text), words


def test_right_and_wrong_have_a_sign_beside_the_colour(report):
    text = report.read_text()
    answers = re.findall(r'<div class="(right|wrong)"><dt>(?:Before|After)</dt><dd><span[^>]*>(.)</span>', text)
    assert len(answers) == 48
    assert set(answers) == {("right", "✓"), ("wrong", "✗")}


def test_report_asks_for_nothing_outside(report):
    text = report.read_text()
    assert not re.findall(r"https?://|url\(|@import", text)
    assert all(address.startswith("data:") for address in re.findall(r'(?:src|href|action)="([^"]*)"', text))


def test_hostile_text_stays_text(tmp_path, dump_dom):
    gallery = [
        dataclasses.replace(
            sample, id=HOSTILE, question=HOSTILE, category=HOSTILE, references=(HOSTILE,), before=HOSTILE, after=HOSTILE
        )
        for sample in fake_gallery(3)
    ]
    text = write_report(tmp_path, hostile(fake_result()), gallery).read_text()
    assert text.count("<script") == 1
    assert not re.search(r"<[^>]*\sonerror=", re.sub(r'"[^"]*"', "", text))
    shown = dump_dom(tmp_path / "report.html", "")
    assert "<title>owned</title>" not in shown
    assert "3 of 3 shown" in shown


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
    text = write_report(tmp_path, result, fake_gallery(2)).read_text()
    assert len(re.findall(CARD, text)) == 2


def test_leaf_that_was_not_measured_is_tolerated(tmp_path):
    def emptied(tree):
        return {key: emptied(value) if isinstance(value, dict) else None for key, value in tree.items()}

    assert write_report(tmp_path, emptied(fake_result()), []).exists()
    assert write_report(tmp_path, {}, []).exists()


@pytest.mark.parametrize(("status", "sign"), [("looks", "✓"), ("does not look", "✗"), ("not judged", "○")])
def test_verdict_is_said_and_signed(tmp_path, status, sign):
    result = fake_result() | {"verdict": {"status": status, "sentence": "A sentence."}}
    assert f'<span aria-hidden="true">{sign}</span> {status}</span>' in write_report(tmp_path, result, []).read_text()


@pytest.mark.parametrize(
    ("fragment", "shown"),
    [
        ("", 24),
        ("#filter=wrong-right", 12),
        ("#filter=right-wrong", 4),
        ("#filter=wrong-wrong", 4),
        ("#category=open", 12),
        ("#filter=wrong-right&category=open", 8),
        ("#search=TEST-1000", 1),
        ("#search=no+such+answer", 0),
    ],
)
def test_filters_preset_by_the_address(report, dump_dom, fragment, shown):
    dom = dump_dom(report, fragment)
    cards = re.findall(CARD, dom)
    assert len(cards) == 24
    assert sum(" hidden" not in card for card in cards) == shown
    assert f"{shown} of 24 shown" in dom
    pressed = re.findall(r'data-value="([^"]*)" aria-pressed="true"', dom)
    wanted = dict(part.split("=") for part in fragment[1:].split("&") if part)
    assert pressed == [wanted.get("filter", ""), wanted.get("category", "")]


def test_filters_by_hand(report, dump_dom):
    found = driven(
        dump_dom,
        report.parent,
        1280,
        """
        const shown = () => page.querySelectorAll(".card:not([hidden])").length;
        const press = (value) => page.querySelector(`[data-value="${value}"]`).click();
        const search = page.querySelector(".search");
        const seen = [shown()];
        press("wrong-right"); seen.push(shown(), page.location.hash);
        press("open"); seen.push(shown());
        search.value = "nothing like this"; search.dispatchEvent(new Event("input")); seen.push(shown());
        page.querySelector("[data-reset]").click(); seen.push(shown(), page.activeElement === search);
        return seen;
        """,
    )
    assert found == [24, 12, "#filter=wrong-right", 8, 0, 24, True]


def test_pictures_are_drawn_and_can_be_enlarged(report, dump_dom):
    found = driven(
        dump_dom,
        report.parent,
        1280,
        """
        page.querySelector(".picture").click();
        const dialog = page.querySelector("dialog");
        const drawn = dialog.querySelector("img").src.startsWith("data:image/png");
        return [dialog.open, drawn, dialog.querySelector("p").textContent];
        """,
    )
    assert found == [True, True, fake_gallery(1)[0].question]


@pytest.mark.parametrize("width", [360, 390, 1280])
def test_page_never_scrolls_sideways(tmp_path, dump_dom, width):
    result = fake_result()
    result["recipe"]["command"] += " section.key=value" * 20
    result["verdict"]["sentence"] = "x" * 300
    gallery = [dataclasses.replace(sample, before="y" * 300, id="z" * 90) for sample in fake_gallery(4)]
    write_report(tmp_path, result, gallery)
    opened = 'for (const part of page.querySelectorAll("details")) part.open = true;'
    script = f"{opened} return [frames[0].innerWidth, page.scrollingElement.scrollWidth];"
    assert driven(dump_dom, tmp_path, width, script) == [width, width]
