"""What a metric does, as a hash: it changes when the metric scores any committed hard case in another way."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from unittest.mock import patch

sys.path.append(str(Path(__file__).parent / "agreement"))

CASES = 200  # of each file of captions: METEOR's program takes seconds for them


def fingerprint(name: str) -> str:
    """A hash of our scores and figures over the committed agreement cases of the metric ``name``, as hex.

    Scores count to nine significant digits, so that rounding does not change it.  A metric without an official
    evaluator is run over the short answers.  Captions are parted by our likeness of Stanford's tokeniser, with Java or
    without, so that the hash is the same on any machine; METEOR's program needs Java in any case.  Raises MendableError
    where something that the metric needs is missing.
    """
    from agreement_files import PAIRS, rows

    from eval_harness.metrics import Metric, _caption_words

    metric, found = Metric(name), hashlib.sha256()
    pairs = [pair for pair in PAIRS if name in pair.metrics] or [pair for pair in PAIRS if pair.kind == "short"]
    with patch.object(_caption_words, "java_is_there", lambda: False):
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
