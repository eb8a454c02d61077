"""Runs a task on whoever answers: answers, scores with intervals, and what a model that does not look would get."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.prompts import PROMPTS
from data_prep.rows import strict
from data_prep.section import SourceSection
from data_prep.sources import check_source, source_rows
from eval_harness.answerer import Answerer
from eval_harness.controls import PictureKeys, blank, prior, shuffled
from eval_harness.figures import measured
from eval_harness.journal import Journal, answers_in
from eval_harness.metrics import Metric
from eval_harness.predict import check_answers
from eval_harness.predictions import read_rows, rows_of, write_rows
from eval_harness.processes import Processes
from eval_harness.sampling import sample
from eval_harness.section import EvalSection
from eval_harness.stats import interval
from eval_harness.verdict import CONTROLS
from mlplora_vlm.errors import MendableError, did_you_mean
from mlplora_vlm.files import digest, read_json, write_json
from mlplora_vlm.provenance import device, versions

if TYPE_CHECKING:
    from data_prep.example import Example

PLAIN = "plain"
"""The part of an evaluation that is no control."""


def evaluate(
    answerer: Answerer,
    settings: EvalSection,
    out: Path,
    controls: bool = True,
    kept: Path | None = None,
    untuned: bool = False,
) -> dict[str, Any]:
    """Answers and scores the task's sample, and the controls if asked; writes it all to ``out``, returns the summary.

    Files: ``predictions.jsonl``, ``predictions-CONTROL.jsonl``, ``result.json`` (the summary; docs/evaluation.md has
    its keys).  Under torchrun every process answers its share, and the first one scores and writes.  What was answered
    before is not asked again, in the middle of a part too, when the sample, the decoding and the model are what they
    were; ``kept`` is a folder where answers of other runs are looked for and left.  ``untuned``: the model has yet to
    learn the task, so that it may answer nothing; that is printed.
    Raises MendableError for an unknown task, metric or category, and for rows that cannot be sent.
    """
    out, task = Path(out), settings.chosen()
    metrics = [Metric(name) for name in (task.metric, *task.also)]
    if lacks := metrics[0].missing():
        raise MendableError(lacks, f"task {settings.task}", "install it, or choose another task")
    rows, note = task_sample(settings)
    categories = ["overall", *sorted({row.category for row in rows})]
    if settings.judge and settings.judge not in categories:
        raise MendableError(
            f"the task has no category {settings.judge!r}{did_you_mean(settings.judge, categories)}",
            "eval.judge",
            f"one of: {', '.join(categories)}",
        )
    names = [name for name in settings.controls if controls and (name != "prior" or task.prior_split)]
    if "prior" in names and task.prior_split:
        check_source(settings.rows_of(task.prior_split))  # before the long work, not after it
    run = _Run(answerer, settings, out, kept, untuned)
    parts = {PLAIN: run.answered(PLAIN, rows)}
    for name in names:
        if name == "prior" and task.prior_split:
            training = source_rows(settings.rows_of(task.prior_split))
            parts[name] = run.scored(name, rows, prior(rows, training) if run.processes.first else [""] * len(rows))
        else:
            parts[name] = run.answered(name, blank(rows) if name == "blank" else shuffled(rows, settings.seed))
    result = _summary(run, parts, rows, note)
    if run.processes.first:
        write_json(out / "result.json", result)
    run.processes.wait()
    return result


def task_sample(settings: EvalSection) -> tuple[list[Example], str | None]:
    """(the rows that are asked, a note where they are a sample); raises MendableError where one cannot be used."""
    task = settings.chosen()
    section, together = settings.rows_of(task.split), Metric(task.metric).grouped
    check_source(section)
    return sample(list(strict(source_rows(section))), settings.limit, settings.balance, settings.seed, together)


@dataclass(frozen=True)
class _Part:
    """One predictions file: its rows, and how many of them were answered in how many seconds."""

    rows: list[dict[str, Any]]
    seconds: float = 0.0
    answered: int = 0


class _Run:
    """What all parts of one evaluation share."""

    def __init__(self, answerer: Answerer, settings: EvalSection, out: Path, kept: Path | None, untuned: bool) -> None:
        self.answerer, self.settings, self.task, self.out, self.kept = answerer, settings, settings.chosen(), out, kept
        self.untuned = untuned
        self.metric, self.processes = Metric(self.task.metric), Processes.here()
        self._keys = PictureKeys()

    def answered(self, part: str, examples: Sequence[Example]) -> _Part:
        """The part's answers, scored and written; what an earlier run left of the same question is taken over."""
        key, state = self._key(examples), self._state().get(part, {})
        path = self._path(part)
        rows = _whole_rows(path)
        if state.get("digest") == key and [row["id"] for row in rows] == [example.id for example in examples]:
            self.processes.wait()
            return _Part(rows, state["seconds"], state["answered"])
        journal = Journal(self.out, part, key, self.processes.rank)
        journal.clear_others()
        known = self._kept(key) | journal.known()
        self.processes.wait()  # whoever starts sooner must not change what others read here
        left = [example for example in examples if example.id not in known]
        began = time.perf_counter()
        self._ask(part, left, journal)
        self.processes.wait()
        seconds = time.perf_counter() - began
        known |= journal.known()
        self.processes.wait()  # all have read it before the first removes it
        if part == PLAIN:
            self._check([known[example.id] for example in examples])
        found = self.scored(part, examples, [known[example.id] for example in examples], seconds, len(left))
        if self.processes.first:
            self._keep(key, known)
            write_json(
                self._state_path,
                self._state() | {part: {"digest": key, "seconds": seconds, "answered": len(left)}},
            )
            journal.remove()
        self.processes.wait()
        return found

    def _check(self, answers: Sequence[str]) -> None:
        """Raise MendableError where the model answers nothing; print it of one that has yet to learn the task."""
        try:
            check_answers([{"prediction": answer} for answer in answers], self.answerer.name)
        except MendableError as error:
            if not self.untuned:
                raise
            print(f"{error.what}, before any training: its scores say nothing", flush=True)

    def _ask(self, part: str, examples: Sequence[Example], journal: Journal) -> None:
        """Answers this process's share of the examples into the journal."""
        pictures = [tuple(map(self._keys, example.images)) for example in examples]
        share = [examples[number] for number in self.processes.share(pictures)]
        name = self.settings.task + (f", {CONTROLS[part]}" if part in CONTROLS else "")
        task = self.task
        stream = self.answerer.answers(
            share, task.prompt, task.max_new_tokens, self.settings.batch_size, name, self.processes.first
        )
        for _ in journal.write((share[number].id, text) for number, text in stream):
            pass

    def scored(
        self, part: str, examples: Sequence[Example], predictions: Sequence[str], seconds: float = 0.0, count: int = 0
    ) -> _Part:
        """The predictions' rows, written."""
        scores = self.metric.scores(
            predictions, [example.references for example in examples], [example.question for example in examples]
        )
        found = _Part(rows_of(examples, predictions, scores), seconds, count)
        if self.processes.first:
            write_rows(self._path(part), found.rows)
        return found

    def interval_by_category(self, part: _Part) -> dict[str, dict[str, float]]:
        """Scores overall and of each category."""
        groups = {"overall": part.rows}
        for category in sorted({row["category"] for row in part.rows}):
            groups[category] = [row for row in part.rows if row["category"] == category]
        return {
            name: asdict(interval([row["score"] for row in rows], self.settings.seed)) for name, rows in groups.items()
        }

    def figures(self, part: _Part) -> dict[str, dict[str, Any]]:
        """What the metric, and those that the task names beside it, say of all rows."""
        found = self.metric.figures(part.rows)
        for name in self.task.also:
            found |= Metric(name).beside(part.rows)
        return {name: measured(figure, self.settings.seed) for name, figure in found.items()}

    def about(self) -> dict[str, str]:
        """What the scores hang on beside the texts."""
        found: dict[str, str] = {}
        for name in (self.task.metric, *self.task.also):
            found |= Metric(name).about()
        return found

    def _path(self, part: str) -> Path:
        return self.out / f"predictions{'' if part == PLAIN else f'-{part}'}.jsonl"

    @property
    def _state_path(self) -> Path:
        return self.out / "parts.json"

    def _state(self) -> dict[str, dict[str, Any]]:
        """What was done of each part; parts of which that is not known are done again."""
        try:
            parts = read_json(self._state_path, dict)
        except MendableError:
            return {}
        return {
            name: part
            for name, part in parts.items()
            if isinstance(part, dict)
            and isinstance(part.get("seconds"), int | float)
            and isinstance(part.get("answered"), int)
        }

    def _kept(self, key: str) -> dict[str, str]:
        path = self.kept / f"{key}.jsonl" if self.kept else None
        return dict(answers_in(path)) if path and path.is_file() else {}

    def _keep(self, key: str, known: dict[str, str]) -> None:
        if self.kept:
            write_rows(self.kept / f"{key}.jsonl", [{"id": name, "prediction": text} for name, text in known.items()])

    def _key(self, examples: Sequence[Example]) -> str:
        """What the answers hang on; the batch size and the number of processes are not part of it."""
        sent = [
            [
                row.id,
                row.category,
                row.system,
                row.earlier,
                row.question,
                row.references,
                [*map(self._keys, row.images)],
            ]
            for row in examples
        ]
        return digest([asdict(self.task), PROMPTS[self.task.prompt], self.answerer.digest, sent])


def _plain(section: SourceSection) -> dict[str, Any]:
    """The section's keys that are not as they would be anyway: what it takes to read the rows again."""
    plain = SourceSection(section.source)
    return {key: value for key, value in asdict(section).items() if key == "source" or value != getattr(plain, key)}


def _summary(run: _Run, parts: dict[str, _Part], rows: Sequence[Example], note: str | None) -> dict[str, Any]:
    task, plain = run.task, parts[PLAIN]
    return {
        "schema": 1,
        "task": run.settings.task,
        "version": task.version,
        "by_heart": task.by_heart,
        "metric": task.metric,
        "split": task.split,
        "rows": _plain(run.settings.rows_of(task.split)),
        "n": len(rows),
        "sample": note or "all rows",
        "prompt": task.prompt,
        "prompt_example": run.answerer.prompt(rows[0], task.prompt),
        "decoding": {"do_sample": False, "num_beams": 1, "max_new_tokens": task.max_new_tokens},
        "batch_size": run.settings.batch_size,
        "processes": run.processes.world,
        "seed": run.settings.seed,
        "model": run.answerer.describe(),
        "scores": run.interval_by_category(plain),
        "figures": run.figures(plain),
        "about": run.about(),
        "controls": {name: run.interval_by_category(part) for name, part in parts.items() if name != PLAIN},
        "seconds": round(plain.seconds, 3),
        "samples_per_second": round(plain.answered / plain.seconds, 3) if plain.answered and plain.seconds else None,
        "device": device(),
        "versions": versions(),
    }


def _whole_rows(path: Path) -> list[dict[str, Any]]:
    """The file's rows; none where it is missing or damaged: the examples are then answered again."""
    try:
        return read_rows(path)
    except MendableError:
        return []
