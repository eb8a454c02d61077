"""The report of a prepared set: every figure and reason is on it, in a browser without a complaint."""

from __future__ import annotations

import html
import re

import pytest
from prepared_rows import counted, found, part, record

from data_prep.data_page import bars, data_page, number, short
from data_prep.prepared import Counts

HOSTILE = "<script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"
LEAK = {"digest": "ab" * 32, "train": "mine/train/000001", "evaluation": "theirs/val/000002"}


def fake(leaks=None, text="mended"):
    rows = [record(10 + n % 7, ((640, 480),) * (n % 3), repairs=(text,) * (n % 2)) for n in range(40)]
    parts = {"mine": part(*rows), text: part(record())}
    counts = {"mine": Counts(60, 8, 40, {text: 7, "too long": 5}), text: counted(1)}
    return {**found(parts, counts=counts), "leaks": leaks}


def rejects(text="mended", many=9):
    return [{"source": "mine", "where": f"{text}:{number}", "reason": text, "detail": text} for number in range(many)]


def words(page):
    text = html.unescape(re.sub(r"<[^>]*>", " ", page.partition("<main>")[2].partition("<script>")[0]))
    return " ".join(text.split())


def test_every_figure_has_its_place():
    text = words(data_page(fake([LEAK]), rejects()))
    for said in ("41 of 61 read", "Left out 12 22.6 %", "mended 7", "too long 5", "mended:4", "640 × 480", "of 4 rows"):
        assert said in text, said
    assert "mended:5" not in text  # a few rows are named, the file has all
    assert "5 rows were too long and left out" in text and "mine/train/000001" in text and "abababababab" in text


@pytest.mark.parametrize(("leaks", "said"), [(None, "have not been compared"), ([], "✓ none"), ([LEAK] * 60, "✗ 60")])
def test_leaks_are_said(leaks, said):
    text = words(data_page(fake(leaks), []))
    assert said in text and text.count("abababababab") == min(50, len(leaks or []))


def test_hostile_text_stays_text(tmp_path, open_page):
    page = data_page(fake([dict.fromkeys(LEAK, HOSTILE)], HOSTILE), rejects(HOSTILE))
    assert page.count("<script") == 1 and words(page).count("owned") > 10
    path = tmp_path / "report.html"
    path.write_text(page)
    opened = open_page(path)
    assert "<title>Training data</title>" in opened.stdout and "CONSOLE" not in opened.stderr
    assert re.findall(r"""(?:src|href)="(?!data:)[^"]*""", page.partition("<body>")[0]) == []


def test_nothing_sticks_out_at_phone_width(tmp_path, dump_dom):
    (tmp_path / "report.html").write_text(data_page(fake([LEAK], "a/very/long/path" * 12), rejects("x" * 300)))
    frame = tmp_path / "frame.html"
    frame.write_text("""<iframe src="report.html" style="width:390px;height:800px;border:0"></iframe><pre></pre><script>
        onload = () => {
          const root = frames[0].document.documentElement;
          document.querySelector("pre").textContent = `${root.scrollWidth} of ${root.clientWidth}`;
        }</script>""")
    assert "<pre>390 of 390</pre>" in dump_dom(frame)


def test_a_histogram_is_drawn_with_all_that_its_columns_say():
    drawn = bars({"start": 10, "width": 5, "counts": [4, 0, 2], "above": 1}, "tokens")
    assert [round(height) for height, _ in drawn["columns"]] == [100, 0, 50, 25]
    assert drawn["columns"][0][1] == "10 to 14 tokens: 4 rows" and drawn["columns"][3][1] == "25 or more tokens: 1 row"
    assert drawn["ticks"][0] == (0, "10") and drawn["high"] == 4 and drawn["above"] == "25 or more"
    single = bars({"start": 0, "width": 1, "counts": [1, 3], "above": 0}, "pictures")
    assert single["ticks"] == [(25, "0"), (75, "1")] and not single["above"]
    assert single["columns"][1][1] == "1 pictures: 3 rows"


def test_sets_without_pictures_or_rejects_have_a_page():
    report = {**found({"mine": part(record(pictures=()))}), "leaks": None}
    text = words(data_page(report, []))
    assert "No row has one." in text and "No row needed it." in text and "No row." in text


def test_large_numbers_are_said_short():
    said = [short(value) for value in (12, 12345, 2_500_000, 7e9)]
    assert said == ["12", "12.3\u00a0k", "2.5\u00a0M", "7\u00a0G"]


def test_numbers_have_no_needless_digits():
    assert [number(value) for value in (3.0, 12.5, 0.0768, 1234.5)] == ["3", "12.5", "0.0768", "1,234"]
