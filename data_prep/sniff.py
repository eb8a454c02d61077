"""Which source reads a user's files: looks at them, and tries the sources that say they fit."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from inspect import signature
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from data_prep import csv_records, sources
from data_prep.columns import mapping
from data_prep.example import PICTURE, Example
from data_prep.nesting import Shallow
from data_prep.records import Record, records
from data_prep.rows import Rejected, Row, RowError
from data_prep.section import SourceSection
from data_prep.splits import SPLIT_NAMES, split_of
from data_prep.training_keys import CONVERSATION_KEYS, check_row
from mlplora_vlm.errors import MendableError

FIRST = 20  # records of a file that a source is shown
TRIED = 100  # rows that a source is tried on
PROPOSED = 5  # sources that are tried
FILES = 20  # files of a folder that are looked at
EVENTS = 20_000  # pieces of a JSON object that are looked at: it may be larger than memory
SHORT = 3  # words that an answer to a short question has at most
SUFFIXES = (".json", ".jsonl", *csv_records.SUFFIXES, ".parquet")
TABLES = ("parquet", "table")
"""Sources that fit wherever the columns' names do: proposed after those that know a format by more."""


@dataclass(frozen=True)
class Sample:
    """What a source is shown of a file or a folder."""

    path: Path
    folder: Path
    """The folder that the file is in, or the folder itself."""
    suffix: str
    """The file's, in lower case; empty for a folder."""
    records: tuple[Any, ...]
    """The file's first records as decoded; a JSON object is one record, and one that fills a large file is cut off."""
    fault: str = ""
    """Where and why the file, or the first of its records that cannot be read, is broken."""


@dataclass(frozen=True)
class Proposal:
    """A source that fits, and what it makes of the first rows."""

    source: str
    why: str
    settings: SourceSection
    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    """Of the first `TRIED` rows, by reason."""
    example: Example | None = None
    """The first row that can be used."""
    rejection: str = ""
    """The first row that cannot: where, and why."""
    problem: MendableError | None = None
    """What else it needs, where no row could be read."""

    def yaml(self) -> str:
        """The section to paste into a recipe."""
        always, default = ("source", "split", "folder", "prompt"), SourceSection(self.source)
        given = {
            key: value
            for key, value in asdict(self.settings).items()
            if key in always or value != getattr(default, key)
        }
        return yaml.safe_dump({"data": given}, sort_keys=False, allow_unicode=True, width=1000)


def propose(path: Path) -> list[Proposal]:
    """The sources that fit the file, or the folder and the files in it, tried on their first rows; the best one first.

    Raises MendableError where there is nothing at ``path``.
    """
    found: dict[str, tuple[Proposal, Sample]] = {}
    for sample in samples(path):
        for name in sources.SOURCES:
            if sample.suffix == ".parquet" and name != "parquet":
                continue  # others know such rows too, and read no such file
            recognise = getattr(sources.open_source(name), "recognise", None)
            if recognise and (why := recognise(sample)):
                settings, problem = _settings(name, sample)
                found.setdefault(str(settings), (Proposal(name, why, settings, problem=problem), sample))
    best = sorted(found.values(), key=lambda pair: _rank(pair[0].source))
    return [_tried(proposal, sample) for proposal, sample in best[:PROPOSED]]


def samples(path: Path) -> list[Sample]:
    """The file, or the folder and the first data files in it and in its folders; raises where there is nothing."""
    if path.is_file():
        return [_file(path)]
    if not path.is_dir():
        raise MendableError("there is no such file or folder", str(path), "name the one with your data")
    files = (file for pattern in ("*", "*/*") for file in sorted(path.glob(pattern)) if file.suffix.lower() in SUFFIXES)
    shown = [file for file in files if file.is_file() and not file.name.startswith(".")]
    return [Sample(path, path, "", ()), *map(_file, islice(shown, FILES))]


def unsupported(sample: Sample) -> str:
    """Which key of the file's rows asks for a training that is not supported, if any."""
    for record in sample.records:
        try:
            check_row(record, str(sample.path), CONVERSATION_KEYS)
        except RowError as error:
            return error.what
    return ""


def _rank(source: str) -> int:
    """0: a published set; 1: a format; 2: any table."""
    return 2 if source in TABLES else 0 if sources.open_source(source).SPLITS else 1


def _file(path: Path) -> Sample:
    suffix = path.suffix.lower()
    first, faults = list[Any](), list[str]()
    try:
        for where, record in islice(_records(path, suffix) if suffix in SUFFIXES else (), FIRST):
            if isinstance(record, RowError):
                faults.append(f"{where}: {record.what}")
            else:
                first.append(record)
    except MendableError as error:  # not what its name says
        faults.append(f"{error.where}: {error.what}")
    except OSError as error:
        faults.append(f"{path}: {error.strerror}")
    return Sample(path, path.parent, suffix, tuple(first), faults[0] if faults else "")


def _records(path: Path, suffix: str) -> Iterable[Record]:
    if suffix in csv_records.SUFFIXES:
        return csv_records.csv_records(path)
    if suffix == ".parquet":
        from data_prep.arrow_records import parquet_records

        return parquet_records(path)
    whole = _object(path)
    return records(path) if whole is None else [(str(path), whole)]


def _object(path: Path) -> dict[str, Any] | None:
    """The beginning of a file that is one JSON object; None for all others."""
    import ijson

    builder = ijson.ObjectBuilder()
    with path.open("rb") as file:
        file.seek(3 if file.read(3) == b"\xef\xbb\xbf" else 0)
        try:
            for event, value in islice(ijson.basic_parse(Shallow(file), use_float=True), EVENTS):
                builder.event(event, value)
        except (ijson.JSONError, ValueError, ArithmeticError, RecursionError):
            return None  # lines of JSON end up here, at the second
    value = getattr(builder, "value", None)
    return value if isinstance(value, dict) else None


def _settings(name: str, sample: Sample) -> tuple[SourceSection, MendableError | None]:
    """The first settings that the source has no objection to, else the first, and what it objects."""
    refused: list[tuple[SourceSection, MendableError]] = []
    for split, folder, file in _places(name, sample):
        settings = SourceSection(name, split, str(folder), file, columns=_columns(name, sample))
        try:
            sources.check_source(settings)
            return settings, None
        except MendableError as error:
            refused.append((settings, error))
    return refused[0]


def _places(name: str, sample: Sample) -> Iterator[tuple[str, Path, str | None]]:
    """(split, folder, file) by which the source may find the sample."""
    path, folder = sample.path, sample.folder
    if splits := sources.open_source(name).SPLITS:
        yield from ((split, place, None) for place in (folder, folder.parent) for split in splits)
    elif path == folder:
        inside = {each.name for each in folder.iterdir() if each.is_dir()}
        yield from ((split, folder, None) for split in (*filter(inside.__contains__, SPLIT_NAMES), "train"))
    else:
        split, several = split_of(path), name in ("image_folder", "parquet")
        if several and split and folder.name in ("data", split):
            yield split, folder.parent, None
        if several or split:
            yield split or "train", folder, None
        if not several or (name == "parquet" and not split):
            yield split or "train", folder, path.name


def _columns(name: str, sample: Sample) -> dict[str, str]:
    """The columns whose names are not ours."""
    if name not in TABLES or _spoken(sample):
        return {}
    names = dict.fromkeys(key for record in sample.records if isinstance(record, dict) for key in record)
    return {ours: theirs for ours, theirs in mapping(None, list(names), "").items() if ours != theirs}


def _spoken(sample: Sample) -> bool:
    """Whether the rows are conversations, whose questions are asked as they are written."""
    found = [record for record in sample.records if isinstance(record, dict)]
    return any(isinstance(record.get(key), list) for record in found for key in ("messages", "conversations", "prompt"))


def _tried(proposal: Proposal, sample: Sample) -> Proposal:
    """The proposal with what becomes of its first rows, where they can be read, and the prompt that suits them."""
    if proposal.problem:
        return proposal
    settings = proposal.settings
    rows, problem = _first_rows(settings)
    if rows and all(isinstance(row, Rejected) and row.reason == "missing picture" for row in rows):
        for other in _elsewhere(settings):
            found, _ = _first_rows(other)
            if any(isinstance(row, Example) for row in found):
                settings, rows = other, found
                break
    examples = [row for row in rows if isinstance(row, Example)]
    rejected = [row for row in rows if isinstance(row, Rejected)]
    return replace(
        proposal,
        settings=replace(settings, prompt=_prompt(examples, _spoken(sample))),
        accepted=len(examples),
        rejected=Counter(row.reason for row in rejected),
        example=examples[0] if examples else None,
        rejection=f"{rejected[0].where}: {rejected[0].detail}" if rejected else "",
        problem=problem,
    )


def _first_rows(settings: SourceSection) -> tuple[list[Row], MendableError | None]:
    rows: list[Row] = []
    try:
        rows.extend(islice(sources.source_rows(settings), TRIED))
    except MendableError as error:
        return rows, error
    return rows, None


def _elsewhere(settings: SourceSection) -> Iterator[SourceSection]:
    """The settings with other folders near by for the pictures, where the source can be told of one."""
    if "pictures" in signature(sources.open_source(settings.source).rows).parameters:
        folder = Path(settings.folder or "")
        for place in (folder, folder.parent):
            for inside in [place, *sorted(each for each in place.iterdir() if each.is_dir())][:FILES]:
                yield replace(settings, pictures=os.path.relpath(inside, folder))


def _prompt(examples: list[Example], spoken: bool) -> str:
    """The named prompt that suits the questions and answers."""
    if spoken or not examples:
        return "as_written" if spoken else SourceSection.prompt
    if not any(example.question.strip(PICTURE).strip() for example in examples):
        return "caption"
    short = sorted(len(example.answer.split()) for example in examples)[len(examples) // 2] <= SHORT
    return "short_answer" if short else "as_written"
