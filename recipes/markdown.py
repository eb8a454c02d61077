"""Text from outside in Markdown: escaped as running text, as code, or as a fenced block, whatever it holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from markupsafe import Markup

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~$&])")
_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")

_ADDRESS = "/:?&=%#~@!$'*+,;."


def escaped(value: object) -> Markup:
    """One line of running text that Markdown shows as it is; Markup goes through untouched.

    A backslash stands before what would be markup, HTML, a table's bar or a formula; line breaks and invisible marks
    that turn the direction of writing become spaces; ``://`` no longer makes a link of itself.
    """
    if isinstance(value, Markup):
        return value
    text = _SPECIAL.sub(r"\\\1", _one_line(value)).replace("://", ":\\//").replace("www.", "www\\.")
    text = re.sub(r"^([-=+#])", r"\\\1", text)  # a list, a heading, or its underline
    return Markup(re.sub(r"^(\d+)([.)])(?= |$)", r"\1\\\2", text))


def code(value: object) -> Markup:
    """A code span in one line: as many backticks around it as the text itself does not have in a row."""
    text = _one_line(value)
    ticks = "`" * (_longest(text) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") or not text else ""
    return Markup(f"{ticks}{pad}{text}{pad}{ticks}")


def block(value: object, language: str = "") -> Markup:
    """A fenced block: line breaks stay, and no line of the text can end it."""
    text = _INVISIBLE.sub(lambda hit: "\n" if hit[0] == "\n" else " ", str(value))
    fence = "`" * max(3, _longest(text) + 1)
    return Markup(f"{fence}{language}\n{text}\n{fence}")


def link(text: object, address: str) -> Markup:
    """A link; the address is percent-encoded where it would end the link."""
    return Markup(f"[{escaped(text)}](<{quote(address, safe=_ADDRESS)}>)")


def table(heads: Sequence[object], rows: Iterable[Sequence[object]], right: int = 0) -> Markup:
    """A table whose last ``right`` columns are aligned to the right; every cell is escaped."""
    rules = ["---"] * (len(heads) - right) + ["---:"] * right
    lines = [" | ".join(map(escaped, heads)), " | ".join(rules), *(" | ".join(map(escaped, row)) for row in rows)]
    return Markup("\n".join(f"| {line} |" for line in lines))


def _one_line(value: object) -> str:
    """The text in one line; a space that keeps a number and its unit together stays."""
    return re.sub(" +", " ", _INVISIBLE.sub(" ", str(value))).strip()


def _longest(text: str) -> int:
    """The longest run of backticks."""
    return max((len(run) for run in re.findall(r"`+", text)), default=0)
