"""The gallery in a real browser: filters, keys, hostile text, and a page that stays light with thousands of samples."""

from __future__ import annotations

import dataclasses
import io
import json

import numpy as np
import pytest
from fake_result import fake_gallery, fake_result
from PIL import Image
from test_report import gallery_data

from data_prep.html import page, render
from eval_harness import gallery_page
from eval_harness.gallery import Answer, Sample
from eval_harness.gallery_page import gallery_view, references_line
from eval_harness.report import TEMPLATES, write_report

SHOWN = "return document.querySelector('.shown').textContent"
FOCUS = "return [document.activeElement.className, document.activeElement.dataset.place ?? null]"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return write_report(tmp_path_factory.mktemp("out"), fake_result(), *fake_gallery())


def sample(number=0, texts=("yes", "no"), **changes):
    answers = tuple(Answer(text, float(text == "yes")) for text in texts)
    one = Sample(id=f"q{number}", task="t", category="c", question="Is it?", references=("yes",), answers=answers)
    return dataclasses.replace(one, **changes)


def view(samples, pictures=None, names=("Before", "After")):
    return gallery_view(samples, names, pictures or {}, "lead")


def data(view):
    return json.loads(view["data"].partition(">")[2].rpartition("</")[0])


@pytest.mark.parametrize("width", [390, 1280])
def test_the_gallery_shows_what_was_answered_with_a_sign_beside_the_colour(report, tab, width):
    tab.open(report, width)
    marks = tab.run("""
        return [...document.querySelectorAll(".answers .sign")].map((one) =>
          [one.closest("div").className, one.textContent, one.getAttribute("aria-label")]);""")
    assert len(marks) == 48
    assert {tuple(mark) for mark in marks} == {("right", "✓", "right"), ("wrong", "✗", "wrong")}
    assert tab.run("return document.querySelector('.picture img').src").startswith("data:image/png")
    assert tab.complaints == []


@pytest.mark.parametrize(
    ("fragment", "shown"),
    [
        ("", 24),
        ("#filter=wrong-right", 12),
        ("#filter=right-wrong", 4),
        ("#filter=wrong-wrong", 4),
        ("#category=open", 12),
        ("#category=no+such", 24),
        ("#filter=wrong-right&category=open", 8),
        ("#search=TEST-1000", 1),
        ("#search=no+such+answer", 0),
    ],
)
def test_filters_preset_by_the_address(report, tab, fragment, shown):
    tab.open(report, fragment=fragment)
    assert tab.run(SHOWN) == f"{shown} of 24 shown"
    assert tab.run("return document.querySelectorAll('.card').length") == shown
    wanted = dict(part.split("=") for part in fragment[1:].split("&") if part)
    pressed = tab.run("return [...document.querySelectorAll('[aria-pressed=true]')].map((one) => one.dataset.value)")
    assert pressed == [wanted.get("filter", ""), "1" if wanted.get("category") == "open" else ""]


def test_filters_by_hand_and_their_counts(report, tab):
    tab.open(report)
    press = "document.querySelector(`[data-filter={}][data-value='{}']`).click();"
    counts = "return [...document.querySelectorAll('[data-filter=change] .count')].map((one) => one.textContent)"
    assert tab.run(counts) == ["24", "12", "4", "4", "4"]
    tab.run(press.format("category", 1))
    assert tab.run(counts) == ["12", "8", "4", "0", "0"]  # of open questions
    tab.run(press.format("change", "wrong-right"))
    assert tab.run("return location.hash") == "#filter=wrong-right&category=open"
    tab.press("/", *"nothing like this")
    assert tab.run("await new Promise((done) => setTimeout(done, 100));" + SHOWN) == "0 of 24 shown"
    assert tab.run("return document.querySelector('.nothing').getClientRects().length") == 1
    tab.run("document.querySelector('[data-reset]').click()")
    assert tab.run(SHOWN) == "24 of 24 shown" and tab.run(FOCUS)[0] == "search"


def test_a_keyboard_is_enough(report, tab):
    tab.open(report)
    tab.press("j")
    assert tab.run(FOCUS) == ["card panel", "0"]
    tab.press("j", "ArrowRight", "k", "ArrowDown")  # three cards stand beside each other
    assert tab.run(FOCUS) == ["card panel", "4"]
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert tab.run(outline) == "solid"
    in_order = "return [...document.querySelectorAll('.cards [tabindex=\"0\"]')].map((one) => one.dataset.place)"
    assert tab.run(in_order) == ["4"]
    tab.press("End", "ArrowRight", "j")
    assert tab.run(FOCUS) == ["card panel", "23"]
    tab.press("Home", "k", "Enter")
    dialog = """const one = document.querySelector("dialog"), said = (name) => one.querySelector(name)?.textContent;
        return [one.open, said(".question"), said(".place")]"""
    first, second = fake_gallery(2)[0]
    assert tab.run(dialog) == [True, first.question, "1 of 24"]
    tab.press("ArrowRight")
    assert tab.run(dialog) == [True, second.question, "2 of 24"]
    tab.press("Escape")
    assert tab.run(dialog)[0] is False and tab.run(FOCUS) == ["card panel", "1"]
    tab.press("/", *"blue")
    assert tab.run(FOCUS)[0] == "search" and "j" not in tab.run("return document.querySelector('.search').value")
    assert tab.complaints == []


def test_tab_leads_from_the_search_to_the_card_in_hand_and_past_the_others(report, tab):
    tab.open(report)
    tab.press("/", "Tab")
    assert tab.run(FOCUS) == ["card panel", "0"]
    tab.press("Tab")
    assert "card" not in tab.run(FOCUS)[0]


def test_cards_say_their_place_and_name(report, tab):
    tab.open(report)
    card = tab.run("""
        const one = document.querySelectorAll(".card")[3];
        const label = document.getElementById(one.getAttribute("aria-labelledby"));
        return [one.getAttribute("aria-posinset"), one.getAttribute("aria-setsize"), label.textContent,
          one.closest("[role=feed]").className];""")
    assert card == ["4", "24", fake_gallery(4)[0][3].question, "cards needs-js"]


BIDI = "evil \u202e txet \u2066 \u0000 \u0007 \ud800 <b>bold</b> &amp; \u2028 end"


def test_direction_marks_and_control_characters_are_named_and_act_on_nothing(tmp_path, tab):
    odd = sample(question=BIDI, id=BIDI, category=BIDI, references=(BIDI,), texts=(BIDI, BIDI))
    tab.open(write_report(tmp_path, {}, [odd, sample(1)], {}))
    text = tab.run("return document.querySelector('.card').textContent")
    assert text.count("⟨U+202E⟩ txet ⟨U+2066⟩ ⟨U+0000⟩ ⟨U+0007⟩ ⟨U+D800⟩ <b>bold</b> &amp; ⟨U+2028⟩ end") == 6
    assert "\u202e" not in text
    assert tab.run("return document.querySelectorAll('.card b').length") == 0
    assert tab.run("return [...document.querySelectorAll('.card dd bdi')].length") == 6
    assert tab.complaints == []


def alone(folder, *given, **named):
    """A page with a gallery and nothing else."""
    shown = render(TEMPLATES, "gallery.html.jinja", gallery=view(*given, **named))
    style, script = ((TEMPLATES / name).read_text() for name in ("gallery.css", "gallery.js"))
    (folder / "page.html").write_text(page("gallery", shown, style=style, script=script))
    return folder / "page.html"


@pytest.mark.parametrize("texts", [("yes",), ("yes", "no", "yes"), ("no", "yes", "no", "no")])
def test_one_model_or_several(tmp_path, tab, texts):
    names = [f"model {number}" for number in range(len(texts))]
    tab.open(alone(tmp_path, [sample(n, texts) for n in range(3)], names=names))
    texts_of = "return [...document.querySelectorAll('{}')].map((one) => one.textContent)"
    assert tab.run(texts_of.format(".card:first-child dd bdi")) == ["yes", *texts]
    chips = tab.run(texts_of.format("[data-filter=change] bdi"))
    assert chips == (["wrong", "right"] if len(texts) == 1 else list(gallery_page.CHANGES.values()))
    if len(texts) > 2:
        counts = texts_of.format("[data-filter=change] .count")
        before = tab.run(counts)
        tab.run("""const list = document.querySelector("[data-filter=other]");
            list.value = "2";
            list.dispatchEvent(new Event("change"));""")
        assert tab.run(counts) != before and tab.run("return location.hash") == "#against=model+2"
    assert tab.complaints == []


@pytest.mark.parametrize("width", [390, 1280])
def test_many_categories_are_chosen_from_a_list(tmp_path, tab, width):
    samples = [sample(n, category=f"category {n % 9} of a long name that no button could hold") for n in range(27)]
    tab.open(alone(tmp_path, samples), width, "#category=category+4+of+a+long+name+that+no+button+could+hold")
    assert tab.run(SHOWN) == "3 of 27 shown"
    tab.run("""const list = document.querySelector("select[data-filter=category]");
        list.value = "";
        list.dispatchEvent(new Event("change"));""")
    assert tab.run(SHOWN) == "27 of 27 shown"
    assert tab.run("return [innerWidth, document.scrollingElement.scrollWidth]") == [width, width]


def test_all_pictures_of_a_sample_are_there_when_it_is_enlarged(tmp_path, tab):
    pictures = {("t", "q0"): tuple(Image.new("RGB", (40, 30), colour) for colour in ("red", "blue"))}
    tab.open(alone(tmp_path, [sample(), sample(1)], pictures))
    assert tab.run("return document.querySelector('.picture').textContent") == "2 pictures"
    tab.run("document.querySelector('.picture').click()")
    count = "return document.querySelectorAll('dialog img').length"
    assert tab.run(count) == 2
    tab.run("document.querySelector('[data-step=\"1\"]').click()")
    assert tab.run(count) == 0 and tab.run("return document.querySelector('.place').textContent") == "2 of 2"
    tab.run("document.querySelector('.close').click()")
    assert tab.run(FOCUS) == ["card panel bare", "1"]


def test_a_sample_that_a_model_was_not_asked_says_so(tmp_path, tab):
    tab.open(write_report(tmp_path, {}, [sample(answers=(Answer("yes", 1.0), None))], {}))
    assert "not asked" in tab.run("return document.querySelector('.card').textContent")


def test_references_are_counted():
    assert references_line(["no", "yes", "yes"]) == "yes ×2, no"


def test_long_texts_are_cut_before_the_page_grows_too_large(monkeypatch):
    assert data(view([sample(question="x" * 3000)]))["rows"][0][3] == "x" * 3000
    monkeypatch.setattr(gallery_page, "MOST_BYTES", 40_000)
    cut = view([sample(number, question="ü" * 3000) for number in range(20)])
    assert len(data(cut)["rows"][7][3]) < 500
    assert "Texts of more than" in " ".join(cut["notes"])
    assert len(cut["data"].encode()) < 40_000


def test_a_picture_of_several_questions_is_stored_once():
    picture = Image.new("RGB", (40, 30), "red")
    found = data(view([sample(n) for n in range(5)], {("t", f"q{n}"): (picture,) for n in range(4)}))
    assert len(found["pictures"]) == 1 and [row[6] for row in found["rows"]] == [[0], [0], [0], [0], []]
    assert found["tiny"] == [1]


def noise(number):
    pixels = np.random.default_rng(number).integers(0, 255, (84, 112, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "bmp")
    return buffer.getvalue()


@pytest.mark.slow
def test_five_thousand_samples_stay_small_and_light(tmp_path, tab):
    """Every picture another one, of noise, which no format makes small."""
    samples = [sample(number, ("no", "yes" if number % 3 else "no")) for number in range(5000)]
    pictures = {("t", f"q{number}"): (noise(number),) for number in range(5000)}
    path = write_report(tmp_path, {}, samples, pictures)
    assert path.stat().st_size < 25_000_000
    assert len(gallery_data(path.read_text())["rows"]) == 5000
    state = """return [document.querySelectorAll("*").length, [...document.querySelectorAll(".card")].filter((one) => {
        const box = one.getBoundingClientRect(); return box.bottom > 0 && box.top < innerHeight; }).length]"""
    for width, beside in ((1280, 3), (390, 1)):
        tab.open(path, width)
        assert tab.run("return [innerWidth, document.scrollingElement.scrollWidth]") == [width, width]
        for part in (0.1, 0.35, 0.36, 0.9, 1, 0.5):
            to = f"scrollTo({{ top: {part} * document.scrollingElement.scrollHeight, behavior: 'instant' }})"
            tab.run(to + "; await new Promise((done) => setTimeout(done, 50));")
            nodes, in_view = tab.run(state)
            assert nodes < 5000 and in_view >= 2 * beside, (width, part)
        tab.press("j", "End")
        assert tab.run(FOCUS)[1] == "4999"
        tab.press("k", "k", "Home")
        assert tab.run(FOCUS)[1] == "0" and tab.run(state)[0] < 5000
        tab.press("/", *"q4321")
        assert tab.run("await new Promise((done) => setTimeout(done, 200));" + SHOWN) == "1 of 5,000 shown"
    assert tab.complaints == []
