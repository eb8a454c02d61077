"""Runs a task on a model: answers, scores with intervals, and the controls that show whether the model looks."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from data_prep.collate import PromptCollator
from data_prep.prompts import PROMPTS
from data_prep.rows import strict
from data_prep.sources import open_source
from eval_harness.controls import blank, picture_key, prior, shuffled
from eval_harness.generate import answers
from eval_harness.numbers import of_all
from eval_harness.predictions import model_digest, read_rows, rows_of, write_rows
from eval_harness.sampling import sample
from eval_harness.stats import interval
from eval_harness.tasks import TASKS, Task
from mlplora_vlm.errors import MendableError, did_you_mean
from mlplora_vlm.files import digest, read_json, write_json

if TYPE_CHECKING:
    from data_prep.example import Example


@dataclass(frozen=True)
class EvalSection:
    """What is measured before and after training."""

    task: str
    """One of eval_harness/tasks.py."""
    folder: str | None = None
    """The folder with the task's files, where its source does not bring its own."""
    limit: int = 1000
    """Seeded sample of this many rows; 0: all."""
    balance: bool = False
    """True: the sample holds equally many rows of each category."""
    batch_size: int = 32
    """Questions answered at once; changes no answer."""
    controls: tuple[Literal["blank", "shuffled", "prior"], ...] = ("blank", "shuffled", "prior")
    """Answering blank pictures, other rows' pictures, and from the training answers alone."""
    judge: str | None = None
    """The category whose score must prove that the model looks: its lower bound above every control's upper bound."""
    seed: int = 0
    """Seeds the sample, the shuffling and the bootstrap."""

    def problems(self) -> Iterator[tuple[str, str, str]]:
        """(key, what is wrong, how to mend) for every value that cannot work."""
        if self.limit < 0:
            yield "limit", "limit must not be negative", "0 means all rows"
        if self.batch_size < 1:
            yield "batch_size", "batch_size must be at least 1", "32 is usual"
        if self.judge and not self.controls:
            yield "judge", "without controls there is nothing to judge against", "name at least one control"


def evaluate(model: Any, processor: Any, settings: EvalSection, out: Path, controls: bool = True) -> dict[str, Any]:
    """Answers and scores the task's sample, and the controls if asked; writes it all to ``out``, returns the summary.

    Files: ``predictions.jsonl``, ``predictions-CONTROL.jsonl``, ``result.json`` (the summary; its keys are in
    `_summary`). A part whose file is complete is reused when the sample, the decoding and the model are what they
    were. Raises MendableError for an unknown task or category, and for rows that cannot be sent.
    """
    out, task = Path(out), _task(settings.task)
    rows, note = task_sample(settings)
    source, folder = open_source(task.source), Path(settings.folder) if settings.folder else None
    categories = ["overall", *sorted({row.category for row in rows})]
    if settings.judge and settings.judge not in categories:
        raise MendableError(
            f"the task has no category {settings.judge!r}{did_you_mean(settings.judge, categories)}",
            "eval.judge",
            f"one of: {', '.join(categories)}",
        )
    names = [name for name in settings.controls if controls and (name != "prior" or task.prior_split)]
    if "prior" in names and task.prior_split:
        source.check(task.prior_split, folder)  # before the long work, not after it
    run = _Run(model, processor, settings, task, out)
    parts = {"": run.answered("", rows)}
    for name in names:
        if name == "prior" and task.prior_split:
            parts[name] = run.scored(name, rows, prior(rows, source.rows(task.prior_split, folder)))
        else:
            parts[name] = run.answered(name, blank(rows) if name == "blank" else shuffled(rows, settings.seed))
    result = _summary(run, parts, rows, note)
    write_json(out / "result.json", result)
    return result


def task_sample(settings: EvalSection) -> tuple[list[Example], str | None]:
    """(the rows that are asked, a note where they are a sample); raises MendableError where one cannot be used."""
    task, folder = _task(settings.task), Path(settings.folder) if settings.folder else None
    source = open_source(task.source)
    source.check(task.split, folder)
    return sample(list(strict(source.rows(task.split, folder))), settings.limit, settings.balance, settings.seed)


def verdict(summary: dict[str, Any], judge: str | None) -> dict[str, str]:
    """{status: "looks" | "does not look" | "not judged" | "by heart", sentence}: do the answers come from the pictures?

    The model looks if the lower 95 % bound of its score in the category ``judge`` lies above the upper bound of every
    control.  Of rows that were trained on only their number is said: nothing about them is a score.
    """
    if summary.get("by_heart"):
        return {"status": "by heart", "sentence": _by_heart(summary)}
    if not judge or not summary["controls"]:
        why = "the recipe names no category to judge by" if not judge else "no control was run"
        return {"status": "not judged", "sentence": f"Whether the model looks at the pictures was not judged: {why}."}
    score = summary["scores"][judge]
    controls = {name: scores[judge] for name, scores in summary["controls"].items()}
    failed = [name for name, control in controls.items() if score["low"] <= control["high"]]
    asked = "all questions" if judge == "overall" else f"the {judge} questions"
    own = f"{score['score']:.1%} of {asked} right (at least {score['low']:.1%}, n = {score['n']:,})"
    others = ", ".join(
        f"{_CONTROLS[name]} {controls[name]['score']:.1%} (at most {controls[name]['high']:.1%})" for name in controls
    )
    if failed:
        reason = f"that is not clearly more than with {' and '.join(_CONTROLS[name] for name in failed)}"
        return {
            "status": "does not look",
            "sentence": f"The model is not shown to look at the pictures: {own}; {reason}: {others}.",
        }
    return {"status": "looks", "sentence": f"The model looks at the pictures: {own}, against {others}; 95 % bounds."}


def _by_heart(summary: dict[str, Any]) -> str:
    def right(scores: dict[str, Any]) -> str:
        return of_all(scores["overall"]["score"], scores["overall"]["n"])

    controls = [f"with {_CONTROLS[name]} {right(scores)}" for name, scores in summary["controls"].items()]
    beside = f" ({', '.join(controls)})" if controls else ""
    own = f"By heart: {right(summary['scores'])} questions that were trained on are answered right{beside}."
    return f"{own} It proves the chain, and is no score."


_CONTROLS = {"blank": "blank pictures", "shuffled": "shuffled pictures", "prior": "the training answers alone"}


@dataclass(frozen=True)
class _Part:
    """One predictions file: its rows, and the seconds that answering took."""

    rows: list[dict[str, Any]]
    seconds: float


class _Run:
    """What all parts of one evaluation share."""

    def __init__(self, model: Any, processor: Any, settings: EvalSection, task: Task, out: Path) -> None:
        self.model, self.processor, self.settings, self.task, self.out = model, processor, settings, task, out
        self.score = import_module(f"eval_harness.metrics.{task.metric}").score
        self.model_digest = model_digest(model)

    def answered(self, name: str, examples: Sequence[Example]) -> _Part:
        """The model's answers, scored and written; those of an earlier run where nothing they hang on has changed."""
        key, state = self._key(examples), self._state()
        path = self._path(name)
        if state.get(name or "plain", {}).get("digest") == key and path.is_file():
            rows = read_rows(path)
            if len(rows) == len(examples):
                return _Part(rows, state[name or "plain"]["seconds"])
        if state.pop(name or "plain", None):  # from here on the file is not what that digest vouched for
            self._keep(state)
        began = time.perf_counter()
        predictions = list(
            answers(
                self.model,
                self.processor,
                examples,
                self.task.prompt,
                self.task.max_new_tokens,
                self.settings.batch_size,
                description=f"{self.settings.task}{f', {_CONTROLS[name]}' if name else ''}",
            )
        )
        part = self.scored(name, examples, predictions, time.perf_counter() - began)
        self._keep(state | {name or "plain": {"digest": key, "seconds": part.seconds}})
        return part

    def scored(self, name: str, examples: Sequence[Example], predictions: Sequence[str], seconds: float = 0.0) -> _Part:
        """The predictions' rows, written."""
        scores = [self.score(text, row.references) for text, row in zip(predictions, examples, strict=True)]
        part = _Part(rows_of(examples, predictions, scores), seconds)
        write_rows(self._path(name), part.rows)
        return part

    def interval_by_category(self, part: _Part) -> dict[str, dict[str, float]]:
        """Scores overall and of each category."""
        groups = {"overall": part.rows}
        for category in sorted({row["category"] for row in part.rows}):
            groups[category] = [row for row in part.rows if row["category"] == category]
        return {
            name: asdict(interval([row["score"] for row in rows], self.settings.seed)) for name, rows in groups.items()
        }

    def _path(self, name: str) -> Path:
        return self.out / f"predictions{f'-{name}' if name else ''}.jsonl"

    def _state(self) -> dict[str, dict[str, Any]]:
        try:
            return read_json(self.out / "parts.json")
        except (FileNotFoundError, ValueError):
            return {}

    def _keep(self, state: dict[str, dict[str, Any]]) -> None:
        write_json(self.out / "parts.json", state)

    def _key(self, examples: Sequence[Example]) -> str:
        """What the answers hang on; the batch size is not part of it."""
        sent = [
            [row.id, row.category, row.turns[:-1], row.question, row.references, [*map(picture_key, row.images)]]
            for row in examples
        ]
        template = self.processor.chat_template
        return digest([asdict(self.task), PROMPTS[self.task.prompt], template, self.model_digest, sent])


def _summary(run: _Run, parts: dict[str, _Part], rows: Sequence[Example], note: str | None) -> dict[str, Any]:
    task, seconds = run.task, parts[""].seconds
    return {
        "task": run.settings.task,
        "version": task.version,
        "by_heart": task.by_heart,
        "metric": task.metric,
        "split": task.split,
        "n": len(rows),
        "sample": note or "all rows",
        "prompt_example": PromptCollator(run.processor, task.prompt).text(rows[0]),
        "decoding": {"do_sample": False, "num_beams": 1, "max_new_tokens": task.max_new_tokens},
        "batch_size": run.settings.batch_size,
        "seed": run.settings.seed,
        "model_digest": run.model_digest,
        "seconds": round(seconds, 3),
        "samples_per_second": round(len(rows) / seconds, 3) if seconds else None,
        "scores": run.interval_by_category(parts[""]),
        "controls": {name: run.interval_by_category(part) for name, part in parts.items() if name},
    }


def _task(name: str) -> Task:
    if name not in TASKS:
        raise MendableError(
            f"there is no task {name!r}{did_you_mean(name, TASKS)}", "eval.task", f"one of: {', '.join(TASKS)}"
        )
    return TASKS[name]
