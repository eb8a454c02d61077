"""docs/data.md's table: every source with what it reads and the keys it takes, from the modules themselves."""

from __future__ import annotations

from inspect import getdoc, signature

from data_prep.sources import OPTIONS, SOURCES, open_source


def source_table() -> tuple[list[str], list[list[str]]]:
    """(heads, rows), one row a source."""
    rows = []
    for name in SOURCES:
        source = open_source(name)
        what = (getdoc(source) or "").partition("\n")[0].rstrip(".")
        taken = signature(source.rows).parameters
        splits = ", ".join(source.SPLITS) or "any"
        rows.append([f"`{name}`", what, splits, ", ".join(f"`{key}`" for key in OPTIONS if key in taken)])
    return ["source", "what it reads", "splits", "its own keys"], rows
