"""Every metric of ours as a module of Hugging Face's ``evaluate``, to score predictions that are there already.

    import evaluate
    evaluate.load("eval_harness/as_evaluate.py", "vqa_accuracy").compute(predictions=["red"], references=[["red"] * 10])

Run it from this repository's root: `evaluate` copies the file away, and the copy imports `eval_harness`.  No network.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import Any

import datasets
import evaluate

from eval_harness.metrics import METRICS, Metric


class AsEvaluate(evaluate.Metric):
    """One metric of eval_harness/metrics/, by the configuration's name; raises MendableError for an unknown one."""

    def _info(self) -> evaluate.MetricInfo:
        metric = Metric(self.config_name or "")
        each = datasets.Value("string")
        return evaluate.MetricInfo(
            description=metric.description,
            citation="",
            inputs_description=(
                f"One of: {', '.join(METRICS)}. predictions: texts; references: for each a text, or all accepted ones; "
                "questions (options listed as 'A. text'), ids and categories where figures hang on them."
            ),
            features=[
                datasets.Features({"predictions": each, "references": datasets.Sequence(each)}),
                datasets.Features({"predictions": each, "references": each}),
            ],
        )

    def _compute(
        self,
        predictions: Sequence[str],
        references: Sequence[Sequence[str] | str],
        questions: Sequence[str] | None = None,
        ids: Sequence[str] | None = None,
        categories: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """{the metric's name: mean, scores: one a sample, figures: values by name (None: there is none), about}."""
        metric, n = Metric(self.config_name or ""), len(predictions)
        accepted = [[one] if isinstance(one, str) else list(one) for one in references]
        asked = [""] * n if questions is None else questions
        scores = metric.scores(predictions, accepted, asked)
        names = [f"{number}/0" for number in range(n)] if ids is None else ids
        rows = [
            {"id": name, "category": category, "question": question, "references": texts, "prediction": said}
            for name, category, question, texts, said in zip(
                names, ["all"] * n if categories is None else categories, asked, accepted, predictions, strict=True
            )
        ]
        values = {name: float(figure.value(figure.counts.sum(0))) for name, figure in metric.figures(rows).items()}
        figures = {name: None if isnan(value) else value for name, value in values.items()}
        return {
            metric.name: sum(scores) / n if n else None,
            "scores": scores,
            "figures": figures,
            "about": metric.about(),
        }
