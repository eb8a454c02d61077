"""What hypothesis makes of valid data to break it: JSON values, files' bytes and the names of pictures."""

from __future__ import annotations

from copy import deepcopy

from hypothesis import strategies as st

from data_prep.example import PICTURE

NESTED = [f"<nested {depth}>" for depth in (60, 600, 800, 850, 3000)]
"""Texts for which a file gets lists within lists, so deep that Python itself could not write them (`fuzz_sets`)."""

TEXTS = [
    "",
    " ",
    "\n",
    "a" * 3000,
    "\0",
    "\ud800",
    "\udcff",
    "\ufeff",
    "<image>",
    "<image>\n<image>",
    PICTURE,
    "<|im_end|>",
]
TEXTS += [
    "<img>a.png</img>",
    "</img>",
    "data:image/png;base64,",
    "data:,x",
    "iVBORw0KGgo" + "A" * 40,
    "[]",
    '["a.png"]',
]
TEXTS += ["human", "gpt", "system", "user", "assistant", "tool", "function_call", "role", "content", "image", "text"]
NUMBERS = [0, -1, 1, 7, 2**31, 2**63 - 1, 0.5, -0.0, 1e300]
"""Whole numbers above 64 bits are not read from lists."""

PARTS = [
    "",
    ".",
    "..",
    "/",
    "//",
    "\\",
    "~",
    " ",
    "\n",
    "\0",
    "\ud800",
    "\udcff",
    "a.png",
    "b.png",
    "sub",
    "c.png",
    "é",
]
PARTS += [
    "out.png",
    "outside",
    "loop",
    "pipe.png",
    "dangling.png",
    "pictures",
    "pictures2",
    "secret.png",
    "x" * 300,
    "%2e%2e",
]
PARTS += [
    "%00",
    "file:",
    "http:",
    "C:",
    "hf:",
    "zip:",
    "::",
    "data:image/png;base64,",
    "localhost",
    "?",
    "#",
    "*",
    "[",
    "proc/self/environ",
]
NAMES = st.one_of(
    st.lists(st.sampled_from(PARTS), min_size=1, max_size=8).map("/".join),
    st.lists(st.sampled_from(PARTS), min_size=1, max_size=5).map("".join),
    st.text(st.characters(), max_size=20),
    st.sampled_from(["../" * 40 + "etc/passwd", "a/" * 2500, "x" * 5000, "/etc/passwd", "/dev/zero", "/"]),
)
"""By which a row might call its picture."""

SCALARS = st.sampled_from([None, True, False, *NUMBERS, *TEXTS]) | st.text(st.characters(), max_size=8) | NAMES
VALUES = st.one_of(
    SCALARS,
    st.sampled_from(NESTED),
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(TEXTS[-11:]), inner, max_size=3),
        max_leaves=6,
    ),
)


@st.composite
def values(draw, value, changes=3):
    """The JSON value, changed in some places below its top."""
    value = deepcopy(value)
    for _ in range(draw(st.integers(1, changes))):
        if not (places := list(_places(value))):
            break
        parent, key = draw(st.sampled_from(places))
        kind = draw(st.sampled_from(["new", "gone", "renamed", "twice", "wrapped", "moved", "longer", "as text"]))
        old = parent[key]
        if kind == "gone":
            del parent[key]
        elif kind == "renamed" and isinstance(parent, dict):
            parent[draw(st.sampled_from([*TEXTS, key.upper(), f"{key}s"]))] = parent.pop(key)
        elif kind == "twice" and isinstance(parent, list):
            parent.insert(key, deepcopy(old))
        elif kind == "wrapped":
            parent[key] = draw(st.sampled_from([[old], {"value": old}, [old, old], {"bytes": None, "path": old}]))
        elif kind == "moved":
            other, name = draw(st.sampled_from(places))
            parent[key] = deepcopy(other[name])
        elif kind == "longer" and isinstance(old, str):
            at = draw(st.integers(0, len(old)))
            parent[key] = old[:at] + draw(st.sampled_from(TEXTS)) + old[at:]
        elif kind == "as text":
            parent[key] = str(old)
        else:
            parent[key] = draw(VALUES)
    return value


def _places(value):
    """Each (list or object, index or key) below the top; those of one list or object side by side."""
    entries = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    for key, inner in list(entries):
        yield value, key
        yield from _places(inner)


@st.composite
def files(draw, data, pieces=(b"",), changes=3):
    """The file's bytes, changed in some places: ``pieces`` are put in among others."""
    for _ in range(draw(st.integers(1, changes))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["flipped", "cut", "put in", "taken out", "twice", "overwritten"]))
        if kind == "flipped" and at < len(data):
            data = data[:at] + bytes([data[at] ^ 1 << draw(st.integers(0, 7))]) + data[at + 1 :]
        elif kind == "cut":
            data = data[:at]
        elif kind == "taken out":
            data = data[:at] + data[at + draw(st.integers(1, 40)) :]
        elif kind == "twice":
            data = data[:at] + data[max(0, at - draw(st.integers(1, 40))) :]
        elif kind == "overwritten":
            piece = draw(st.sampled_from([b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0\0\0\1", b"\0\1"]))
            data = data[:at] + piece + data[at + len(piece) :]
        else:
            data = data[:at] + draw(st.sampled_from(pieces) | st.binary(max_size=8)) + data[at:]
    return data
