"""report.html of a prepared set: what can be used, what was left out and why, how long rows are, what padding costs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from math import ceil
from pathlib import Path
from typing import Any

from data_prep.html import page, render

ROOM = Path(__file__).parent
PLACES, LEAKS = 5, 50
"""How many rows are named of each reason, and how many leaks."""
TICKS = 5  # on a histogram's axis, at most about as many
TOKENS = {"whole": "Whole row", "text": "Text", "pictures": "Pictures", "labels": "Labels: answers, learnt"}
_SPACE = "\u00a0"  # keeps a number and its unit on one line


def data_page(report: Mapping[str, Any], rejects: Iterable[Mapping[str, str]]) -> str:
    """The page for what `data_prep.statistics.statistics` found, and ``leaks`` beside it (None: not looked for).

    ``rejects`` are ``{source, where, reason, detail}`` of left-out rows, to name a few of each reason.
    """
    sources, epoch = report["sources"], report["epoch"]
    read, rejected = (sum(values) for values in zip(*map(_read_and_rejected, sources.values()), strict=True))
    accepted = sum(source["accepted"] for source in sources.values())
    body = render(
        ROOM,
        "data_page.html.jinja",
        tiles=[
            ("Rows that can be used", count(accepted), f"of {count(read)} read"),
            ("Left out", count(rejected), percent(rejected / max(1, rejected + accepted))),
            ("Samples a pass", count(epoch["samples"]), f"{count(epoch['rows_a_step'])} a step"),
            ("Steps a pass", count(epoch["steps"]), "of the optimizer"),
            ("Tokens a pass", short(epoch["tokens"]["whole"]), f"{percent(epoch['label_share'])} of them learnt"),
        ],
        sources=sources,
        reasons=_reasons(sources, rejects),
        repairs=report["repairs"],
        tokens=[(label, report["tokens"][key]) for key, label in TOKENS.items() if report["tokens"][key]],
        pictures=report["pictures"],
        too_long=report["too_long"],
        mixture=report["mixture"],
        padding=report["padding"],
        leaks=report.get("leaks"),
        shown_leaks=LEAKS,
        rejected_of=lambda source: sum(source["rejected"].values()),
        bars=bars,
        count=count,
        percent=percent,
        short=short,
        number=number,
    )
    return page("Training data", body, style=(ROOM / "data_page.css").read_text("utf-8"))


def _read_and_rejected(source: Mapping[str, Any]) -> tuple[int, int]:
    return source["read"], sum(source["rejected"].values())


def _reasons(sources: Mapping[str, Any], rejects: Iterable[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Each reason with its rows by source, the most frequent first, and a few of them by name."""
    total: Counter[str] = Counter()
    by_source: dict[str, dict[str, int]] = defaultdict(dict)
    for name, source in sources.items():
        total.update(source["rejected"])
        for reason, rows in source["rejected"].items():
            by_source[reason][name] = rows
    named: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    for row in rejects:
        if len(named[row["reason"]]) < PLACES:
            named[row["reason"]].append(row)
    return [
        {"reason": reason, "rows": rows, "sources": by_source[reason], "named": named[reason]}
        for reason, rows in total.most_common()
    ]


def bars(histogram: Mapping[str, Any], unit: str) -> dict[str, Any]:
    """A histogram's columns as (percent of the height, what it says) and ticks as (percent from the left, label)."""
    start, width, above = histogram["start"], histogram["width"], histogram["above"]
    counts = [*histogram["counts"], *([above] if above else [])]
    end = start + width * len(histogram["counts"])
    high = max(counts)

    def said(place: int) -> str:
        low = start + width * place
        span = f"{low:,}" if width == 1 else f"{low:,} to {low + width - 1:,}"
        rows = f"{counts[place]:,} row{'s' * (counts[place] != 1)}"
        return f"{f'{low:,} or more' if low >= end else span} {unit}: {rows}"

    step = ceil(len(histogram["counts"]) / TICKS)
    middle = 0.5 if width == 1 else 0
    ticks = [
        (100 * (place + middle) / len(counts), f"{start + width * place:,}")
        for place in range(0, len(histogram["counts"]), step)
    ]
    return {
        "columns": [(100 * rows / high, said(place)) for place, rows in enumerate(counts)],
        "ticks": ticks,
        "high": high,
        "above": f"{end:,} or more" if above else "",
    }


def count(value: float) -> str:
    """1234567 → ``1,234,567``."""
    return f"{value:,.0f}"


def number(value: float) -> str:
    """12.5 → ``12.5``; 3.0 → ``3``; 0.0768 → ``0.077``."""
    return count(value) if float(value).is_integer() or value >= 1000 else f"{value:.3g}"


def percent(share: float) -> str:
    """0.948 → ``94.8 %``."""
    return f"{100 * share:.1f}{_SPACE}%"


def short(value: float) -> str:
    """1234567 → ``1.23 M``."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e3 if unit == 'k' else size):.3g}{_SPACE}{unit}"
    return count(value)
