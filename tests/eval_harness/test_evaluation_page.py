"""The page of evaluations: read from disk; scores, differences, figures and confusion, in a browser at two widths."""

from __future__ import annotations

import html
import json
import re

import pytest
from PIL import Image
from test_compare import write
from test_report import HOSTILE, gallery_data

from data_prep.example import Example
from eval_harness.compare import compare
from eval_harness.evaluation_page import figure, p_value, points, write_evaluation_page, write_models_page
from eval_harness.evaluations import found, model_names
from mlplora_vlm.files import read_json, write_json

CLOSED = tuple(float(number % 3 > 0) for number in range(30))
BETTER = tuple(float(number % 5 > 0) for number in range(30))


def examples(n=30):
    return [
        Example(f"q{number}", (Image.new("RGB", (60, 40), (number, 0, 0)),), "?", "yes", ("yes",), "open")
        for number in range(n)
    ]


def references(folder):
    """Every other answer of the evaluation becomes "no"."""
    path = folder / "predictions.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows[::2]:
        row["references"], row["prediction"] = ["no"], "no" if row["score"] else "yes"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def folders(tmp_path):
    both = [write(tmp_path / name / "task", scores) for name, scores in (("base", CLOSED), ("tuned", BETTER))]
    for folder in both:
        references(folder)
        result = read_json(folder / "result.json")
        for category in ("open", "yes/no"):
            result["scores"][category] = {"score": 0.61, "low": 0.5, "high": 0.7, "n": 15}
        result["controls"] = {"blank": {"overall": {"score": 0.2, "low": 0.1, "high": 0.3, "n": 30}}}
        write_json(folder / "result.json", result)
    return both


def compared(path, folders, **given):
    models = [model for folder in folders for model in found(folder)]
    names = model_names(models)
    return write_models_page(path, models, names, compare(models, names), **given)


def words(path):
    text = re.sub(r"<script.*?</script>|<style.*?</style>", " ", path.read_text(), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


def test_one_evaluation_has_its_scores_controls_figures_confusion_and_every_answer(tmp_path, folders):
    page = write_evaluation_page(tmp_path / "page.html", folders[:1], {"easy_vqa_test": examples()})
    said = words(page)
    for part in ("66.7", "blank picture", "best control’s upper bound", "F1", "50.0 % 40.0 % to 60.0 %"):
        assert part in said, part
    assert "Which answer was given for which" in said and "All 30 samples." in said
    data = gallery_data(page.read_text())
    assert len(data["rows"]) == len(data["pictures"]) == 30 and data["names"] == ["base"]
    assert "Differences" not in said


def test_a_comparison_has_differences_wins_and_mcnemar(tmp_path, folders):
    page = compared(tmp_path / "page.html", folders, examples={"easy_vqa_test": examples()})
    said = words(page)
    result = compare([found(folder)[0] for folder in folders], ["base", "tuned"])["tasks"]["easy_vqa_test"]
    pair = result["comparisons"][0]
    cell, test = pair["scores"]["overall"], pair["mcnemar"]["overall"]
    assert f"{points(cell['difference'])} {points(cell['low'])} to {points(cell['high'])}" in said
    assert f"overall 30 {cell['wins']} {cell['losses']} {cell['ties']}" in said
    assert f"{p_value(test['p'])} exact" in said
    assert "blank picture" not in said and said.count("Which answer was given for which:") == 2


def test_confusion_tables_count_every_row(tmp_path, folders):
    text = write_evaluation_page(tmp_path / "page.html", folders[:1]).read_text()
    table = re.search(r'<table class="confusion">.*?</table>', text, re.DOTALL)[0]
    cells = [int(cell.replace("·", "0")) for cell in re.findall(r"<td[^>]*>([^<]*)</td>", table)]
    assert sum(cells) == 30 and cells[0] + cells[4] == sum(CLOSED)


def test_without_pictures_the_page_says_why(tmp_path, folders):
    gone = {"source": "table", "split": "test", "folder": str(tmp_path / "gone")}
    for rows, why in ((None, "its result does not say where its rows are"), (gone, "no file that ends in")):
        write(tmp_path / "base" / "task", CLOSED, task="own", rows=rows)
        said = words(write_evaluation_page(tmp_path / "page.html", folders[:1]))
        assert "There are no pictures of own: " in said and why in said
    assert "All 30 samples." in said


def test_several_models_and_tasks_are_one_page(tmp_path, tab):
    for model in ("base", "tuned", "third"):
        for task in ("easy_vqa_test", "shapes_test"):
            write(tmp_path / model / task, CLOSED, task=task)
    write(tmp_path / "tuned" / "docvqa_val", (1.0, 0.0), task="docvqa_val")
    page = write_evaluation_page(tmp_path / "page.html", [tmp_path])
    assert len(gallery_data(page.read_text())["rows"]) == 62
    tab.open(page, fragment="#task=docvqa_val")
    assert tab.run("return document.querySelector('.shown').textContent") == "2 of 62 shown"
    assert "not asked" in tab.run("return document.querySelector('.card').textContent")
    both = compared(tmp_path / "both.html", [tmp_path])
    assert "Not compared, since no other model was asked: docvqa_val (tuned)." in words(both)
    assert len(gallery_data(both.read_text())["rows"]) == 60
    tab.open(both, 390)
    assert tab.run("return document.scrollingElement.scrollWidth") == 390 and tab.complaints == []


def test_more_samples_than_asked_for_are_picked_and_that_is_said(tmp_path, folders):
    page = write_evaluation_page(tmp_path / "page.html", folders, samples=10)
    assert len(gallery_data(page.read_text())["rows"]) == 10
    assert "10 of 30 samples, picked by seed" in words(page)


def test_what_is_not_shared_is_said_and_left_out(tmp_path):
    folders = [write(tmp_path / "a" / "t", CLOSED), write(tmp_path / "b" / "t", CLOSED, ids=range(10, 40))]
    page = compared(tmp_path / "page.html", folders)
    assert "20 samples are shared with b, 20 are not" in words(page)
    assert len(gallery_data(page.read_text())["rows"]) == 20


def test_trained_on_rows_are_counted_and_never_a_score(tmp_path):
    folder = write(tmp_path / "a" / "t", CLOSED, by_heart=True)
    for page in (
        write_evaluation_page(tmp_path / "one.html", [folder]),
        compared(tmp_path / "two.html", [folder, write(tmp_path / "b" / "t", BETTER, by_heart=True)]),
    ):
        said = words(page)
        assert "rows that were trained on, and is no score; right: a 20 of 30" in said
        assert "66.7" not in said and "Differences" not in said and "Scores" not in said


def test_scores_beyond_one_have_their_axis(tmp_path, tab):
    folder = write(tmp_path / "a" / "t", (1.2, 0.9), metric="cider")
    tab.open(write_evaluation_page(tmp_path / "page.html", [folder]))
    ends = tab.run("""const right = (one) => one.getBoundingClientRect().right;
        const marks = [...document.querySelectorAll(".track .shape")].map(right);
        return [Math.max(...marks), right(document.querySelector(".track"))];""")
    assert ends[0] < ends[1] + 8


@pytest.mark.parametrize("width", [390, 1280])
def test_hostile_text_stays_text_and_nothing_sticks_out(tmp_path, tab, width):
    bidi = f"{HOSTILE}\u202e\x00{'x' * 200}"
    folders = []
    for model, scores in (("a", CLOSED), ("b", BETTER)):
        folder = write(tmp_path / model / "t", scores, task=bidi, metric=bidi, prompt_example=bidi, sample=bidi)
        result = read_json(folder / "result.json") | {"model": {"name": model + bidi}}
        result["figures"] = {bidi: {"value": 0.5, "low": 0.4, "high": 0.6, "n": 1, "share": True}}
        result["scores"][bidi] = result["scores"]["overall"]
        write_json(folder / "result.json", result)
        rows = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
        for number, row in enumerate(rows):
            answers = [f"{bidi}{place}" for place in range(2)]
            row |= {"question": bidi, "category": bidi, "references": [answers[number % 2]]}
            row["prediction"] = answers[number % 2] if row["score"] else answers[1 - number % 2]
        (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        folders.append(folder)
    page = compared(tmp_path / "page.html", folders)
    tab.open(page, width)
    tab.run("for (const part of document.querySelectorAll('details')) part.open = true;")
    assert tab.run("return document.querySelectorAll('.confusion').length") == 2
    assert tab.run("return [innerWidth, document.scrollingElement.scrollWidth]") == [width, width]
    assert "owned" not in tab.run("return document.title.slice(0, 5)") and tab.complaints == []
    assert tab.run("return document.images.length + document.scripts.length") == 2
    assert "\u202e" not in tab.run("return document.documentElement.textContent")
    assert "\x00" not in page.read_text()


def test_the_page_asks_for_nothing_outside(tmp_path, folders):
    text = compared(tmp_path / "page.html", folders, examples={"easy_vqa_test": examples()}).read_text()
    assert not re.findall(r"https?://|url\(|@import", text)
    assert all(address.startswith("data:") for address in re.findall(r'(?:src|href|action)="([^"]*)"', text))


def test_numbers_are_written_for_people():
    assert (points(0.0123), points(-0.5), points(0), points(None)) == ("+1.2", "-50.0", "+0.0", "–")
    assert (p_value(0.0312), p_value(0.0002), p_value(1.0)) == ("0.031", "< 0.001", "1.000")
    assert figure({"value": 1480.33, "share": False}) == "1,480" and figure({"value": None}) == "–"
