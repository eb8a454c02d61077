"""The page shell: hostile text stays text, nothing outside is asked for, pictures become small data URIs."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re

import pytest
from markupsafe import Markup
from PIL import Image

from data_prep.html import data_block, page, picture_uri, render, visible

HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'"


def opened(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_title_and_plain_body_are_escaped():
    text = page(HOSTILE, HOSTILE)
    assert "<script>alert" not in text
    assert "<img" not in text
    assert text.count("&lt;script&gt;alert") == 2


def test_template_values_are_escaped_and_markup_is_kept(tmp_path):
    (tmp_path / "row.jinja").write_text('<p title="{{ text }}">{{ text }}</p>')
    row = render(tmp_path, "row.jinja", text=HOSTILE)
    assert isinstance(row, Markup)
    assert row.count("<") == 2
    assert row in page("rows", row)


def test_policy_names_the_one_script_by_hash_and_lets_nothing_else_in():
    text = page("title", "body", style="p { color: red }", script="document.title += '!';")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert "p { color: red }" in text


@pytest.mark.parametrize("part", [{"script": "'</script>'"}, {"style": "</STYLE>"}])
def test_part_that_closes_its_own_tag_is_refused(part):
    with pytest.raises(ValueError, match="closing tag"):
        page("title", "body", **part)


@pytest.mark.parametrize(
    ("mode", "size", "kind", "shown"),
    [
        ("RGB", (64, 48), "PNG", (64, 48)),
        ("RGB", (1600, 800), "JPEG", (384, 192)),
        ("RGBA", (1600, 800), "PNG", (384, 192)),
        ("P", (20, 20), "PNG", (20, 20)),
        ("CMYK", (500, 500), "JPEG", (384, 384)),
        ("L", (1, 2000), "JPEG", (1, 384)),
    ],
)
def test_picture_uri_keeps_shape_and_leaves_the_picture_alone(mode, size, kind, shown):
    picture = Image.new(mode, size)
    small = opened(picture_uri(picture))
    assert (small.format, small.size) == (kind, shown)
    assert (picture.mode, picture.size) == (mode, size)


def test_small_picture_keeps_its_pixels():
    picture = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    assert opened(picture_uri(picture)).convert("RGB").tobytes() == picture.tobytes()


def test_what_acts_unseen_is_named_and_ordinary_text_stays():
    assert visible("a\u202eb\x00c\x1bd\ud800e\u2028f\x85") == ("a⟨U+202E⟩b⟨U+0000⟩c⟨U+001B⟩d⟨U+D800⟩e⟨U+2028⟩f⟨U+0085⟩")
    plain = "tab\tline\nשלום \u200f مرحبا naïve 한국어 👩\u200d🔬 \u00a0<b>"
    assert visible(plain) == plain
    assert visible("one\r\ntwo") == "one\ntwo"


def test_templates_name_what_acts_unseen(tmp_path):
    (tmp_path / "row.jinja").write_text('<p title="{{ text }}">{{ text }}{{ mark }}</p>')
    text = render(tmp_path, "row.jinja", text="a\u202e<b>\ud800", mark=Markup("<i>\u2014</i>"))
    assert text == '<p title="a⟨U+202E⟩&lt;b&gt;⟨U+D800⟩">a⟨U+202E⟩&lt;b&gt;⟨U+D800⟩<i>\u2014</i></p>'


def test_data_in_the_page_reads_back_and_cannot_end_its_block():
    value = {"a": [HOSTILE, "</script>", "<!--", "]]>", "&lt;", "ü \u2028"]}
    block = data_block('x"><b', value)
    assert block.count("<") == 2 and block.count(">") == 2
    assert json.loads(block.partition(">")[2].rpartition("</script>")[0]) == value


def test_a_small_file_is_smaller(tmp_path):
    picture = Image.effect_noise((300, 200), 80).convert("RGB")
    small = picture_uri(picture, 128, small_file=True)
    assert small.startswith("data:image/webp") and opened(small).size == (128, 85)
    assert len(small) < len(picture_uri(picture, 128)) / 2
