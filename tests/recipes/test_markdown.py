"""Text from outside stays text: markdown-it, a CommonMark parser, finds no markup in it."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt
from markupsafe import Markup

from recipes.markdown import block, code, escaped, link, table

HOSTILE = [
    "plain",
    "**bold** _it_ `code` ~~no~~",
    "[click](javascript:alert(1)) ![x](http://x/y.png)",
    "<script>alert(1)</script> &amp; <!-- c -->",
    "# heading",
    "- item",
    "+ item",
    "1. item",
    "2) item",
    "> quote",
    "---",
    "=== ",
    "a | b | c",
    "\\*not\\* \\",
    "https://example.org and www.example.org",
    "line\nbreak\r\n\n# heading",
    "```\ncode\n```",
    "`` ` ``",
    "    four spaces",
    "| --- |",
    "\u202eright to left\u2066",
    "$x$ and $$y$$",
    "[ref]: http://x",
    "trailing \\",
    "`" * 5,
    " ",
    "*",
]


@pytest.fixture(scope="module")
def parser():
    return MarkdownIt("gfm-like", {"linkify": False, "html": True})


def plain(text):
    for mark in "\u202e\u2066":
        text = text.replace(mark, " ")
    return " ".join(text.split())


@pytest.mark.parametrize("text", HOSTILE)
def test_running_text_is_one_paragraph_of_that_text(parser, text):
    tokens = parser.parse(f"{escaped(text)}")
    if not plain(text):
        assert not tokens
        return
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    children = tokens[1].children
    assert {child.type for child in children} <= {"text", "text_special"}, children
    assert "".join(child.content for child in children) == plain(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_cell_stays_a_cell(parser, text):
    tokens = parser.parse(table(["a", text], [[text, "x"], ["y", text]], right=1))
    assert [token.type for token in tokens].count("td_open") == 4
    assert [token.type for token in tokens].count("th_open") == 2
    cells = [token.children for token in tokens if token.type == "inline"]
    assert "".join(child.content for child in cells[1]) == plain(text)


@pytest.mark.parametrize("text", [text for text in HOSTILE if text.strip()])
def test_a_code_span_and_a_block_hold_just_that_text(parser, text):
    (span,) = parser.parse(f"{code(text)}")[1].children
    assert (span.type, span.content) == ("code_inline", plain(text))
    (fence,) = parser.parse(block(text, "bash"))
    assert fence.type == "fence" and fence.info == "bash"
    assert plain(fence.content) == plain(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_link_goes_where_it_should(parser, text):
    tokens = parser.parse(f"see {link(text, 'https://example.org/a b)>c')}")[1].children
    assert [token.attrs["href"] for token in tokens if token.type == "link_open"] == [
        "https://example.org/a%20b%29%3Ec"
    ]


def test_markup_goes_through():
    assert escaped(Markup("**own**")) == "**own**"
