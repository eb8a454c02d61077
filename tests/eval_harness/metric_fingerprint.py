"""What a metric does, as a hash: it changes when the metric scores any committed hard case in another way."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "agreement"))

CASES = 200  # of each file of captions: METEOR's program takes seconds for them


def fingerprint(name: str) -> str:
    """A hash of our scores and figures over the committed agreement cases of the metric ``name``, as hex.

    Scores count to nine significant digits, so that rounding does not change it.  A metric without an official
    evaluator is run over the short answers.  Those of captions hang on the tokeniser, which `Metric.about` names: a
    recorded hash is to be compared only where ``about`` is what it was.  Raises MendableError where something that the
    metric needs is missing.
    """
    from agreement_files import PAIRS, rows

    from eval_harness.metrics import Metric

    metric, found = Metric(name), hashlib.sha256()
    pairs = [pair for pair in PAIRS if name in pair.metrics] or [pair for pair in PAIRS if pair.kind == "short"]
    for pair in pairs:
        cases = rows(pair)[:CASES] if pair.kind == "captions" else rows(pair)
        scores = metric.scores(
            [row["prediction"] for row in cases],
            [row["references"] for row in cases],
            [row["question"] for row in cases],
        )
        found.update(" ".join(f"{score:.9g}" for score in scores).encode())
        for figure, data in sorted(metric.figures(cases).items()):
            found.update(f"\n{figure} {float(data.value(data.counts.sum(0))):.9g}".encode())
    return found.hexdigest()
