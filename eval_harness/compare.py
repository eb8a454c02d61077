"""Two or more models on the same samples: the paired difference with its interval, McNemar's test, wins and losses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import comb, erfc, sqrt
from typing import Any

from eval_harness.evaluations import Evaluation, Model, tasks_of
from eval_harness.gallery import RIGHT, change
from eval_harness.stats import RESAMPLES, interval, resampled_sums, wilson
from mlplora_vlm.errors import MendableError

EXACT_BELOW = 25
"""Discordant pairs; with fewer McNemar's test is the exact binomial one, from there on the chi-squared one."""
_SAME = ("task", "version", "metric", "split", "decoding")
_SAME_IF_SAID = ("prompt", "by_heart")  # not every result says it
_SAMPLE = "sample"  # its note names limit and seed


@dataclass(frozen=True)
class Difference:
    """The mean of n paired differences, second minus first, with its 95 % interval."""

    difference: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class McNemar:
    """McNemar's test (1947) on answers that are right or wrong."""

    first_right: int
    """Samples that the first alone answers right."""
    other_right: int
    """Samples that the other alone answers right."""
    test: str
    """``exact`` (binomial) or ``chi2`` (with continuity correction, one degree of freedom)."""
    statistic: float | None
    """The chi-squared value; None for the exact test."""
    p: float
    """Two-sided: how likely a split at least this uneven is where neither model is better."""


def paired_difference(first: Sequence[float], other: Sequence[float], seed: int = 0) -> Difference:
    """Percentile bootstrap over samples: of each resample the mean of ``other`` minus ``first``.

    Where all differences are equal the bootstrap knows no doubt (its interval is a point).  Then the interval is as
    wide as if the share of samples that differ were at Wilson's upper bound for 0 of n.  Raises ValueError without
    samples.
    """
    import numpy as np

    pairs = np.asarray(other, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    if not pairs.size:
        raise ValueError("a difference needs at least one pair")
    n, mean = pairs.size, float(pairs.mean())
    means = np.concatenate([sums[:, 0] / n for sums in resampled_sums(pairs[:, None], seed)])
    low, high = (float(bound) for bound in np.percentile(means, (2.5, 97.5)))
    if pairs.min() == pairs.max():
        doubt = wilson(0, n)[1]
        low, high = low - doubt, high + doubt
    return Difference(mean, min(low, mean), max(high, mean), n)


def mcnemar(first: Sequence[float], other: Sequence[float]) -> McNemar:
    """The test on scores, of which `RIGHT` or more counts as right.

    Of the b + c discordant pairs, where neither is better, b follows Binomial(b + c, 1/2).  With fewer than
    `EXACT_BELOW` p is twice its lower tail, else that of χ² = (|b - c| - 1)² / (b + c) (Edwards 1948).
    """
    sides = [(one >= RIGHT, two >= RIGHT) for one, two in zip(first, other, strict=True)]
    b, c = sides.count((True, False)), sides.count((False, True))
    n = b + c
    if n < EXACT_BELOW:
        tail = sum(comb(n, k) for k in range(min(b, c) + 1)) / 2**n
        return McNemar(b, c, "exact", None, min(1.0, 2 * tail))
    statistic = max(0, abs(b - c) - 1) ** 2 / n
    return McNemar(b, c, "chi2", statistic, erfc(sqrt(statistic / 2)))


def compare(models: Sequence[Model], names: Sequence[str], seed: int = 0, shared: bool = False) -> dict[str, Any]:
    """Each further model against the first, task by task, on the samples that both answered; what compare.json holds.

    Raises MendableError where the evaluations are not of the same thing (see `mismatches`), or share no task or no
    sample.  With ``shared`` the samples may have been drawn differently.
    """
    first, *others = models
    if not others:
        raise MendableError("one model alone cannot be compared", names[0], "name at least two evaluations")
    tasks: dict[str, dict[str, Any]] = {}
    for task in tasks_of(models):
        paired = [(name, model[task]) for name, model in zip(names[1:], others, strict=True) if task in model]
        if task not in first or not paired:
            continue
        _refuse(task, names[0], first[task], paired, shared)
        with_task = {name: model[task] for name, model in zip(names, models, strict=True) if task in model}
        said = first[task].result
        tasks[task] = {
            **{key: said.get(key) for key in ("version", "metric", "split", "sample", "decoding", "by_heart")},
            "models": {name: _said(one) for name, one in with_task.items()},
            "comparisons": [_paired(first[task], name, one, seed) for name, one in paired],
        }
    if not tasks:
        asked = "; ".join(f"{name}: {', '.join(model)}" for name, model in zip(names, models, strict=True))
        raise MendableError("the evaluations share no task", asked, "compare evaluations of the same tasks")
    return {
        "schema": 1,
        "seed": seed,
        "resamples": RESAMPLES,
        "right_from": RIGHT,
        "first": names[0],
        "models": list(names),
        "tasks": tasks,
        "left_out": {
            name: [task for task in model if name not in tasks.get(task, {}).get("models", ())]
            for name, model in zip(names, models, strict=True)
        },
    }


def mismatches(first: Evaluation, other: Evaluation, shared: bool = False) -> Iterator[str]:
    """What differs beside the model, one sentence each.

    A prompt as sent may differ between models, since each has its own template; for one and the same model it may not.
    """
    one, two = first.result, other.result
    for key in (*_SAME, *(() if shared else (_SAMPLE,))):
        if one.get(key) != two.get(key):
            yield f"{key}: {_short(one.get(key))} and {_short(two.get(key))}"
    for key in _SAME_IF_SAID:
        if key in one and key in two and one[key] != two[key]:
            yield f"{key}: {_short(one[key])} and {_short(two[key])}"
    if _model(one) == _model(two) and one.get("prompt_example") != two.get("prompt_example"):
        yield f"prompt of one model: {_short(one.get('prompt_example'))} and {_short(two.get('prompt_example'))}"
    theirs = {row["id"]: row for row in other.rows}
    odd = [row["id"] for row in first.rows if row["id"] in theirs and _asked(row) != _asked(theirs[row["id"]])]
    if odd:
        yield f"question, category or references of {len(odd):,} samples, such as {odd[0]}"


def changed_rows(first: Sequence[Mapping[str, Any]], other: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The samples whose score differs, with both answers, in the first's order."""
    theirs = {row["id"]: row for row in other}
    pairs = [(row, theirs[row["id"]]) for row in first if row["id"] in theirs]
    return [
        {
            "id": one["id"],
            "category": one["category"],
            "change": change(one["score"], two["score"]),
            "first": {"prediction": one["prediction"], "score": one["score"]},
            "other": {"prediction": two["prediction"], "score": two["score"]},
        }
        for one, two in pairs
        if one["score"] != two["score"]
    ]


def _refuse(task: str, name: str, first: Evaluation, others: Sequence[tuple[str, Evaluation]], shared: bool) -> None:
    for other_name, other in others:
        where = f"{first.folder} and {other.folder}"
        if differs := list(mismatches(first, other, shared)):
            lines = "".join(f"\n  {line}" for line in differs)
            fix = "evaluate both with the same task, decoding, limit and seed"
            only_sample = all(line.partition(":")[0] == _SAMPLE for line in differs)
            raise MendableError(
                f"{name} and {other_name} were not asked the same in {task}; what differs:{lines}",
                where,
                f"{fix}, or compare only the samples that both have with --shared" if only_sample else fix,
            )
        if not {row["id"] for row in first.rows} & {row["id"] for row in other.rows}:
            raise MendableError(f"{name} and {other_name} share no sample of {task}", where, "evaluate the same sample")


def _said(one: Evaluation) -> dict[str, Any]:
    """What the model's own result says, of all its samples."""
    keys = ("n", "model", "scores", "figures", "prompt_example")
    return {"folder": str(one.folder), **{key: one.result[key] for key in keys if key in one.result}}


def _paired(first: Evaluation, name: str, other: Evaluation, seed: int) -> dict[str, Any]:
    theirs = {row["id"]: row for row in other.rows}
    pairs = [(row, theirs[row["id"]]) for row in first.rows if row["id"] in theirs]
    groups = {"overall": pairs}
    for category in sorted({one["category"] for one, _ in pairs}):
        groups[category] = [pair for pair in pairs if pair[0]["category"] == category]
    columns = {category: _columns(group) for category, group in groups.items()}
    return {
        "other": name,
        "n": len(pairs),
        "only_first": len(first.rows) - len(pairs),
        "only_other": len(other.rows) - len(pairs),
        "same_prompt": first.result.get("prompt_example") == other.result.get("prompt_example"),
        "scores": {category: _scores(one, two, seed) for category, (one, two) in columns.items()},
        "mcnemar": {category: asdict(mcnemar(one, two)) for category, (one, two) in columns.items()},
        "changed": changed_rows(first.rows, other.rows),
    }


def _columns(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> tuple[list[float], list[float]]:
    return [one["score"] for one, _ in pairs], [two["score"] for _, two in pairs]


def _scores(first: Sequence[float], other: Sequence[float], seed: int) -> dict[str, Any]:
    return {
        "first": asdict(interval(first, seed)),
        "other": asdict(interval(other, seed)),
        **asdict(paired_difference(first, other, seed)),
        "wins": sum(two > one for one, two in zip(first, other, strict=True)),
        "losses": sum(two < one for one, two in zip(first, other, strict=True)),
        "ties": sum(two == one for one, two in zip(first, other, strict=True)),
    }


def _model(result: Mapping[str, Any]) -> Any:
    """What its answers hang on, where it says so; else whatever it says of itself."""
    model = result.get("model")
    return model.get("digest", model) if isinstance(model, Mapping) else model


def _asked(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["question"], row["category"], row["references"]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:160]} …"
