"""The metrics, one module each: pure functions of predictions and references.

A metric offers ``score(prediction, references)``, or ``scores(predictions, references)`` where one sample's score hangs
on the others (CIDEr-D weighs words by how rare they are).  What is no mean of scores (F1, BLEU, MME's totals) it offers
beside that as ``figures(rows)``, by name; ``about()`` says what a score hangs on beside the texts, such as a tokeniser.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping, Sequence
from importlib import import_module
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

    def scores(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
        """One score a sample, in the order given; 0 is the worst, and 1 what a perfect answer gets (CIDEr-D: 10)."""
        if hasattr(self._module, "scores"):
            return self._module.scores(predictions, references)
        score = self._module.score
        return [score(text, accepted) for text, accepted in zip(predictions, references, strict=True)]

    def figures(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
        """What the metric says of all ``rows`` (those of ``predictions.jsonl``) beside the mean of their scores."""
        return self._module.figures(rows) if hasattr(self._module, "figures") else {}

    def about(self) -> dict[str, str]:
        """What the scores hang on beside the texts, such as the tokeniser that was there."""
        return self._module.about() if hasattr(self._module, "about") else {}

    def beside(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
        """The metric as a further figure of rows that another metric has scored: its own figures, else its mean."""
        if found := self.figures(rows):
            return found
        return {self.name: mean(self.scores([row["prediction"] for row in rows], [row["references"] for row in rows]))}
