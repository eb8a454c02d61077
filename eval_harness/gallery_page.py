"""The gallery as a part of a page: filters, and the samples as data that a script draws as they come into view."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from data_prep.html import data_block, visible
from eval_harness.gallery import RIGHT, Sample
from eval_harness.numbers import count
from eval_harness.thumbnails import LARGE, Thumbnails, thumbnails

if TYPE_CHECKING:
    from data_prep.example import Picture

MOST_SAMPLES = 5_000
MOST_BYTES = 24_000_000
"""Of the gallery's data; what stands around it in the page takes less than a megabyte more."""
_TEXT_SHARE = 0.4  # of MOST_BYTES that texts may take before they are cut
LONGEST = 4_000  # characters of a text, halved until all fit
CHIPS = 6  # more values than these are chosen from a list, not by buttons

CHANGES = {
    "wrong-right": "wrong → right",
    "right-wrong": "right → wrong",
    "wrong-wrong": "wrong in both",
    "right-right": "right in both",
}
SIDES = {"wrong": "wrong", "right": "right"}
EMPTY = "(empty)"


def gallery_view(
    samples: Sequence[Sample],
    names: Sequence[str],
    pictures: Mapping[tuple[str, str], Sequence[Picture]],
    lead: str,
    notes: Sequence[str] = (),
    command: str = "",
) -> dict[str, Any] | None:
    """What gallery.html.jinja shows; None without samples.

    ``names`` are the models', in the order of each sample's answers.  ``pictures`` are by (task, id); a sample without
    any is shown without.  ``command`` makes a page with all samples.  What did not fit into `MOST_BYTES` is said in the
    notes.
    """
    if not samples:
        return None
    tasks, categories = (Counter(getattr(sample, key) for sample in samples) for key in ("task", "category"))
    rows, cut = _fitting(samples, list(tasks), list(categories))
    wanted = {(one.task, one.id): pictures[one.task, one.id] for one in samples if (one.task, one.id) in pictures}
    room = MOST_BYTES - sum(map(_size, rows))
    shown = thumbnails(wanted, room)
    for sample, row in zip(samples, rows, strict=True):
        row.append(shown.places.get((sample.task, sample.id), []))
    data = {
        "names": list(map(visible, names)),
        "tasks": list(map(visible, tasks)),
        "categories": list(map(visible, categories)),
        "labels": {**SIDES, **CHANGES},
        "right": RIGHT,
        "rows": rows,
        "pictures": shown.uris,
        "tiny": [int(tiny) for tiny in shown.tiny],
    }
    several = len(names) > 1
    return {
        "lead": lead,
        "notes": [*notes, *_notes(samples, shown, cut)],
        "command": command,
        "names": list(names),
        "kinds": list((CHANGES if several else SIDES).items()),
        "filters": [
            (key, f"By {key}", f"any {key}", [(number, value, n) for number, (value, n) in enumerate(values.items())])
            for key, values in (("task", tasks), ("category", categories))
            if len(values) > 1
        ],
        "chips": CHIPS,
        "total": len(samples),
        "data": data_block("gallery-data", data),
    }


def _fitting(samples: Sequence[Sample], tasks: list[str], categories: list[str]) -> tuple[list[list[Any]], int | None]:
    """(id, task, category, question, references, answers) of each sample, and where its texts are cut, if anywhere."""
    longest, cut = LONGEST, None
    while True:
        rows = [_row(sample, tasks, categories, longest) for sample in samples]
        if max(len(text) for one in samples for text in _texts(one)) > longest:
            cut = longest
        if sum(map(_size, rows)) <= _TEXT_SHARE * MOST_BYTES or longest < 64:
            return rows, cut
        longest //= 2


def _row(sample: Sample, tasks: list[str], categories: list[str], longest: int) -> list[Any]:
    def short(text: str) -> str:
        text = text.strip()
        return visible(text if len(text) <= longest else f"{text[:longest]} …")

    return [
        short(sample.id),
        tasks.index(sample.task),
        categories.index(sample.category),
        short(sample.question or "(the prompt alone)"),
        short(references_line(sample.references)),
        [[short(one.text) or EMPTY, round(one.score, 4)] if one else None for one in sample.answers],
    ]


def references_line(references: Sequence[str]) -> str:
    """``yes ×7, no ×3``, the most frequent first."""
    return ", ".join(f"{text} ×{n}" if n > 1 else text for text, n in Counter(references).most_common())


def _texts(sample: Sample) -> list[str]:
    answers = [answer.text for answer in sample.answers if answer]
    return [sample.id, sample.question, references_line(sample.references), *answers]


def _size(row: list[Any]) -> int:
    """Bytes of the row in the page; half a surrogate pair is none of `visible`'s texts."""
    return len(json.dumps(row, ensure_ascii=False).encode()) + 8


def _notes(samples: Sequence[Sample], shown: Thumbnails, cut: int | None) -> list[str]:
    notes = []
    if cut:
        notes.append(f"Texts of more than {count(cut)} characters are cut, to keep the page small.")
    if shown.side and shown.side < LARGE[0]:
        notes.append(f"Pictures are made smaller, to at most {shown.side} pixels a side, to keep the page small.")
    if shown.left_out:
        notes.append(
            f"There is no room for {count(shown.left_out)} of {count(shown.left_out + len(shown.uris))} pictures."
        )
    without = sum((sample.task, sample.id) not in shown.places for sample in samples)
    if 0 < without < len(samples):
        notes.append(f"The pictures of {count(without)} samples are not at hand.")
    return notes
