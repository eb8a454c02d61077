"""Proposes the source that reads your files, with the lines to paste into a recipe.

PATH is a file, or the folder that holds your data: questions, conversations or captions as JSON, JSON lines, CSV or
parquet, pictures with captions beside them, or the unpacked files of a published set.  Each proposal shows what becomes
of the first rows.  Nothing is written.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.example import PICTURE, Example
from data_prep.images import picture_size
from data_prep.sources import SOURCES, expanded, open_source
from mlplora_vlm.errors import MendableError

if TYPE_CHECKING:
    from rich.console import Console

    from data_prep.sniff import Proposal, Sample

EXAMPLES = """\
  python -m recipes sniff /data/mine
  python -m recipes sniff /data/mine/train.jsonl
"""
SHOWN = 200  # signs of a text


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words after ``sniff``."""
    parser.add_argument("path", type=Path, help="a file or a folder")


def run(given: argparse.Namespace) -> int:
    """0; 2 where no source fits."""
    from rich.console import Console

    from data_prep.sniff import propose, samples

    path, console = expanded(given.path), Console(soft_wrap=True, highlight=False)
    proposals = propose(path)
    for number, proposal in enumerate(proposals, 1):
        _show(number, proposal, console)
    seen = samples(path)
    if not proposals:
        _explain(seen, console)
        return 2
    for sample in seen:
        if sample.fault and not sample.records:
            console.print(
                f"no source reads {_line(str(sample.path))}: {_line(sample.fault)}", style="bold", markup=False
            )
    return 0


def _show(number: int, proposal: Proposal, console: Console) -> None:
    console.print(f"{number}. {proposal.source}", style="bold", markup=False)
    console.print(f"   {_line(proposal.why)}\n", markup=False)
    console.print(proposal.yaml(), markup=False)
    if read := proposal.accepted + proposal.rejected.total():
        left_out = ", ".join(f"{count} {reason}" for reason, count in proposal.rejected.most_common())
        ends = f"{proposal.rejected.total()} left out: {left_out}" if left_out else "none is left out"
        console.print(f"   of the first {read} rows {proposal.accepted} can be read, {ends}", markup=False)
    if proposal.rejection:
        console.print(f"   the first that cannot: {_line(proposal.rejection)}", markup=False)
    if proposal.example:
        for name, text in _facts(proposal.example):
            console.print(f"   {name:<9} {text}", markup=False)
    if proposal.problem:
        console.print("   it cannot be read yet:", style="bold", markup=False)
        for line in str(proposal.problem).splitlines():
            console.print(f"   {_line(line)}", markup=False)
    console.print()


def _facts(example: Example) -> Iterator[tuple[str, str]]:
    """(name, text) of what the first row becomes."""
    if example.system:
        yield "system", _line(example.system)
    for number, (question, answer) in enumerate(example.turns):
        yield "question", _line(question.replace(PICTURE, "[picture]")) or "(the prompt says it all)"
        yield "context" if number in example.context_turns else "answer", _line(answer)
    for image in example.images:
        shown = f"{len(image):,} bytes" if isinstance(image, bytes) else _line(str(image))
        yield "picture", f"{shown}, {_size(image)}"
    for repair in example.repairs:
        yield "repaired", _line(repair)


def _size(image: Any) -> str:
    try:
        width, height = picture_size(image)
    except MendableError as error:
        return _line(error.what)
    return f"{width} x {height} pixels"


def _explain(seen: list[Sample], console: Console) -> None:
    """What was looked at, and what each source of one's own files would need."""
    from data_prep.sniff import unsupported

    console.print("No source reads this.  Seen:", style="bold")
    for sample in seen:
        console.print(f"   {_line(str(sample.path))}: {_described(sample)}", markup=False)
        if sample.fault:
            console.print(f"      cannot be read: {_line(sample.fault)}", style="bold", markup=False)
        elif reason := unsupported(sample):
            console.print(f"      cannot be taught: {_line(reason)}", style="bold", markup=False)
    console.print("\nWhat the sources of one's own files read:", style="bold")
    for name in SOURCES:
        module = open_source(name)
        if not module.SPLITS:
            heading, _, rest = str(module.__doc__).partition("\n\n")
            console.print(f"\n{name}", style="bold")
            console.print(f"   {heading.strip()}", markup=False)
            console.print("   " + rest.partition("\n\n")[0].strip().replace("\n", "\n   "), markup=False)
    console.print("\nA table with other columns: say which is which with the key columns, such as", style="bold")
    console.print("   columns: {image: picture_path, question: prompt_text, answer: target}", markup=False)


def _described(sample: Sample) -> str:
    if sample.path == sample.folder:
        names = sorted(path.name for path in sample.path.iterdir())
        return f"{len(names)} entries, such as {_line(', '.join(names[:5]))}" if names else "an empty folder"
    if not sample.records:
        return "no record could be read" if sample.path.stat().st_size else "an empty file"
    first = sample.records[0]
    if not isinstance(first, dict):
        return f"its first record is no object: {_line(repr(first))}"
    kinds = ", ".join(f"{key}: {type(value).__name__}" for key, value in first.items())
    return f"its first record has {_line(kinds)}" if first else "its first record is empty"


def _line(text: str) -> str:
    """The text in one line, without what a terminal would obey."""
    line = " ".join(text.split())
    line = "".join(sign if sign.isprintable() else "\ufffd" for sign in line)
    return line if len(line) <= SHOWN else f"{line[:SHOWN]} …"
