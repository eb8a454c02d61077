"""Nesting: what is too deep is refused before it takes memory, and brackets within texts are not nesting."""

from __future__ import annotations

import io
import json
from typing import Any

import ijson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.nesting import DEEPEST, DIGITS, STEP, Shallow


def read(content: bytes) -> bytes:
    file, found = Shallow(io.BytesIO(content)), b""
    while part := file.read(1 << 16):
        found += part
    return found


def nested(depth: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return opening * depth + b"1" + closing * depth


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"[\\"{":', b"}]")])
def test_too_deep_is_refused(opening: bytes, closing: bytes) -> None:
    depth = DEEPEST // sum(map(json.dumps(closing.decode()).count, "]}"))
    allowed = nested(depth, opening, closing)
    assert read(allowed) == allowed
    filler = b" " * STEP  # more than is looked at together
    with pytest.raises(ValueError, match="nested deeper"):
        read(b"[" + opening * depth + filler)
    wide = b"[" + b",".join([allowed] * 50) + b"]"
    with pytest.raises(ValueError, match="nested deeper"):
        read(wide.replace(b"1", filler))


@pytest.mark.parametrize("text", [b"[" * 9000, b'\\"' * 5000 + b"[[{" * 3000, b"\\\\", b"a" * (STEP - 2) + b"\\"])
def test_brackets_within_texts_are_not_nesting(text: bytes) -> None:
    text += b"\\" if text.endswith(b"a\\") else b""
    content = b'["' + text + b'", "]]]", [[["' + b"[" * 200 + b'"]]]]'
    assert read(content) == content


@pytest.mark.parametrize("before", [0, 1, STEP - 999, STEP - 1])
def test_numbers_that_would_end_the_process_are_refused(before: int) -> None:
    whole, long = b"9" * (DIGITS - 1), b"9" * 5000
    content = b"[" + b" " * before + whole + b", " + whole + b"." + whole + b"]"
    assert read(content) == content
    with pytest.raises(ValueError, match="digits"):
        read(b"[" + b" " * before + long + b"]")


json_values = st.recursive(
    st.none() | st.integers() | st.text(alphabet='ab[]{}"\\\u00e9\n '),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(alphabet='a["\\'), inner, max_size=3),
    max_leaves=20,
)


@given(json_values, st.integers(0, STEP))
def test_what_is_not_deep_is_read_as_it_is(value: Any, before: int) -> None:
    content = b" " * before + json.dumps([value]).encode()
    [found] = ijson.items(Shallow(io.BytesIO(content)), "item")
    assert found == value
    with pytest.raises(ValueError, match="nested deeper"):  # the count has not lost its way
        read(content + b"[" * (DEEPEST + 1))
