"""The metrics, one module each: pure functions of predictions and references.

A metric offers ``score(prediction, references)``, or ``scores(predictions, references)`` where one sample's score hangs
on the others (CIDEr-D weighs words by how rare they are) or many are scored at once.  A ``score`` with a third
parameter is also given the question, which lists the options.  What is no mean of scores (F1, BLEU, MME's totals) it
offers beside that as ``figures(rows)``, by name.  ``about()`` says what a score hangs on beside the texts, such as a
tokeniser; ``missing()`` what is not installed and would be needed; ``GROUPED`` that it speaks of rows that belong
together (`figures.group`).  Modules whose names start with "_" are what metrics share.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping, Sequence
from importlib import import_module
from inspect import signature
from typing import Any

from eval_harness.figures import Figure, mean
from mlplora_vlm.errors import MendableError, did_you_mean

METRICS: tuple[str, ...] = tuple(
    sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
)


class Metric:
    """One module of this folder, by its name; raises MendableError for an unknown one."""

    def __init__(self, name: str) -> None:
        if name not in METRICS:
            raise MendableError(
                f"there is no metric {name!r}{did_you_mean(name, METRICS)}",
                "eval_harness/metrics/",
                f"one of: {', '.join(METRICS)}; or add eval_harness/metrics/{name}.py",
            )
        self.name, self._module = name, import_module(f"{__name__}.{name}")

    @property
    def description(self) -> str:
        """What it computes and by which source, with every deviation."""
        return self._module.__doc__ or ""

    @property
    def grouped(self) -> bool:
        """Whether it speaks of rows that belong together: a sample must not part them."""
        return getattr(self._module, "GROUPED", False)

    def missing(self) -> str | None:
        """What is not installed, without which there are no scores; None where all is there."""
        return self._module.missing() if hasattr(self._module, "missing") else None

    def scores(
        self,
        predictions: Sequence[str],
        references: Sequence[Sequence[str]],
        questions: Sequence[str] | None = None,
    ) -> list[float]:
        """One score a sample, in the order given; 0 is the worst, and 1 what a perfect answer gets (CIDEr-D: 10).

        ``questions`` are those that were asked; only metrics that read the options out of them look at them.  Raises
        MendableError where something is missing.
        """
        if lacks := self.missing():
            raise MendableError(lacks, f"eval_harness/metrics/{self.name}.py", "install it, or choose another metric")
        if hasattr(self._module, "scores"):
            return self._module.scores(predictions, references)
        score = self._module.score
        if len(signature(score).parameters) == 2:
            return [score(text, accepted) for text, accepted in zip(predictions, references, strict=True)]
        asked = [""] * len(predictions) if questions is None else questions
        return [score(*sample) for sample in zip(predictions, references, asked, strict=True)]

    def figures(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
        """What the metric says of all ``rows`` (those of ``predictions.jsonl``) beside the mean of their scores."""
        return self._module.figures(rows) if hasattr(self._module, "figures") and not self.missing() else {}

    def about(self) -> dict[str, str]:
        """What the scores hang on beside the texts, such as the tokeniser that was there, or what was missing."""
        if lacks := self.missing():
            return {self.name: f"not computed: {lacks}"}
        return self._module.about() if hasattr(self._module, "about") else {}

    def beside(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
        """The metric as a further figure of rows that another metric has scored: its own figures, else its mean.

        Where something is missing there is none, and `about` says so.
        """
        if self.missing():
            return {}
        if found := self.figures(rows):
            return found
        predictions, references = [row["prediction"] for row in rows], [row["references"] for row in rows]
        return {self.name: mean(self.scores(predictions, references, [row["question"] for row in rows]))}
